"""What stands around every route: ids, keys, limits, errors, CORS."""

import json

import pytest
from pydantic import SecretStr

from llmapi.core.errors import BadSetting
from llmapi.setting_tables import Limits

ASKED = {"prompt": "Hi"}
TEXT = "/v1/text/generate"


def post(client, body, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(TEXT, data=body, headers={"Content-Type": "application/json", **named})


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b"{", 400, "malformed_json"),
        (b'{"prompt": "a", "prompt": "b"}', 400, "malformed_json"),
        (b'{"prompt": "\\ud800"}', 400, "malformed_json"),
        (b'{"seed": ' + b"9" * 5000 + b"}", 400, "malformed_json"),
        (b"[" * 100 + b"]" * 100, 400, "json_too_deep"),
        (b"[1]", 422, "validation_error"),
        (b'"text"', 422, "validation_error"),
        (b"null", 422, "validation_error"),
        (b"{}", 422, "validation_error"),
        (b'{"prompt": "a", "temperature": "0.5"}', 422, "validation_error"),
        (b'{"prompt": "a", "temperature": true}', 422, "validation_error"),
        (b'{"prompt": "a", "max_tokens": 1.5}', 422, "validation_error"),
        (b'{"prompt": "a", "stream": 1}', 422, "validation_error"),
        (b'{"prompt": "a", "colour": "red"}', 422, "validation_error"),
        (b'{"prompt": "a", "model": "nobody/knows"}', 422, "validation_error"),
        (b'{"prompt": "' + b"a" * 1_100_000 + b'"}', 413, "payload_too_large"),
    ],
)
def test_a_bad_body_gets_a_clear_4xx(client, gemini, body, status, code):
    answer = post(client, body)
    assert (answer.status_code, answer.json["code"], answer.mimetype) == (status, code, "application/problem+json")
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]
    assert answer.headers["X-Should-Retry"] == "false"
    assert gemini.asked == []


def test_every_wrong_field_is_named(client):
    wrong = {"messages": [{"role": "king", "content": "x"}], "top_p": 7, "cache": {"mode": "x"}}
    answer = client.post(TEXT, json=wrong)
    assert {error["field"] for error in answer.json["errors"]} == {"messages.0.role", "top_p", "cache.mode"}


@pytest.mark.parametrize("headers", [{"Content_Type": "text/plain"}, {"Content_Encoding": "gzip"}])
def test_another_media_type_is_not_taken(client, headers):
    answer = post(client, b"{}", **headers)
    assert (answer.status_code, answer.json["code"]) == (415, "unsupported_media_type")


def test_an_unknown_address_and_a_wrong_method_are_problems_too(client):
    nowhere, wrong = client.get("/v1/nowhere"), client.get(TEXT)
    assert (nowhere.status_code, nowhere.json["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json["code"]) == (405, "method_not_allowed")
    assert "POST" in wrong.headers["Allow"]


def test_a_caller_s_request_id_is_kept_when_it_is_a_plain_one(client):
    assert post(client, json.dumps(ASKED), X_Request_ID="mine-1").json["id"] == "mine-1"
    for odd in ("a b", "x" * 200, 'a"b', ""):
        assert client.get("/livez", headers={"X-Request-ID": odd}).headers["X-Request-ID"].startswith("req_")


def test_the_limit_of_a_route_holds_and_is_told(make):
    client = make(limits=Limits(text="2/minute"))
    answers = [post(client, json.dumps(ASKED)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    assert answers[0].headers["RateLimit-Policy"] == '"text";q=2;w=60'
    assert answers[0].headers["RateLimit"].startswith('"text";r=1;t=')
    assert "Retry-After" not in answers[0].headers
    assert answers[2].json["code"] == "rate_limited"
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 60
    assert client.get("/v1/models").status_code == 200


def test_probes_are_never_limited(make):
    client = make(limits=Limits(operations="1/minute"))
    assert {client.get("/livez").status_code for _ in range(5)} == {200}
    assert [client.get("/health").status_code for _ in range(2)] == [200, 429]


KEYS = (SecretStr("first-key-first-key"), SecretStr("acme:second-key-second-key"))


def test_with_required_keys_only_their_holders_come_in(make, gemini):
    client = make(auth="required", api_keys=KEYS)
    assert post(client, json.dumps(ASKED), Authorization="Bearer first-key-first-key").status_code == 200
    assert post(client, json.dumps(ASKED), X_API_Key="second-key-second-key").status_code == 200
    strangers = ["Bearer nope", "Basic x", "first-key-first-key"]
    tries = [{}, {"X_API_Key": "acme:second-key-second-key"}, *({"Authorization": said} for said in strangers)]
    for wrong in tries:
        refused = post(client, json.dumps(ASKED), **wrong)
        assert (refused.status_code, refused.json["code"]) == (401, "unauthenticated")
        assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert len(gemini.asked) == 2  # two tenants do not share answers


def test_every_route_but_probes_and_docs_needs_a_key(make):
    client = make(auth="required", api_keys=KEYS)
    rules = [rule for rule in client.application.url_map.iter_rules()]
    open_routes = set()
    for rule in rules:
        address = rule.rule.replace("<string:job_id>", "job_1").replace("<path:name>", "swagger-ui.css")
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            with client.open(address, method=method, json={}) as answer:
                if answer.status_code != 401:
                    open_routes.add(rule.rule)
    assert open_routes == {"/", "/livez", "/readyz", "/docs", "/docs/<path:name>", "/openapi.json"}


def test_a_key_in_the_address_is_refused_and_not_repeated(make):
    client = make(auth="required", api_keys=KEYS)
    answer = client.get("/v1/models?api_key=first-key-first-key")
    assert (answer.status_code, answer.json["code"]) == (400, "key_in_address")
    assert b"first-key" not in answer.data


@pytest.mark.parametrize("host", ["evil.example.org", "evil.example.org:8000", "127.0.0.1.evil.org"])
def test_without_keys_a_page_of_another_site_cannot_ask_through_its_own_name(client, host):
    answer = client.get("/v1/models", headers={"Host": host})
    assert (answer.status_code, answer.json["code"]) == (403, "forbidden")


def test_without_keys_another_machine_is_not_served(client):
    answer = client.get("/v1/models", environ_overrides={"REMOTE_ADDR": "192.0.2.7"})
    assert answer.status_code == 403


def test_no_origin_may_call_by_default_and_only_exact_ones_by_setting(make):
    closed, opened = make(), make(cors_origins=("https://app.example.org",))
    ask = {"Origin": "https://app.example.org", "Access-Control-Request-Method": "POST"}
    assert "Access-Control-Allow-Origin" not in closed.options(TEXT, headers=ask).headers
    assert opened.options(TEXT, headers=ask).headers["Access-Control-Allow-Origin"] == "https://app.example.org"
    for other in ("https://app.example.org.evil.org", "https://evil.org", "http://app.example.org", "null"):
        answer = opened.options(TEXT, headers={**ask, "Origin": other})
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_forwarded_address_is_believed_only_behind_a_proxy(make):
    plain, proxied = make(limits=Limits(models="1/minute")), make(limits=Limits(models="1/minute"), trusted_proxies=1)
    for client, second in ((plain, 429), (proxied, 200)):
        client.get("/v1/models", headers={"X-Forwarded-For": "127.0.0.2"})
        assert client.get("/v1/models", headers={"X-Forwarded-For": "127.0.0.3"}).status_code == second


def test_answers_are_not_stored_by_strangers(client):
    answer = post(client, json.dumps(ASKED))
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("store", ["memory", "shared"])
def test_the_limit_is_exact_wherever_it_is_counted(make, store):
    client = make(limits=Limits(models="5/hour"), limit_store=store)
    assert [client.get("/v1/models").status_code for _ in range(7)] == [200] * 5 + [429] * 2


def test_a_limit_that_cannot_be_read_stops_the_start(make):
    with pytest.raises(BadSetting, match="limits.text"):
        make(limits=Limits(text="often"))
