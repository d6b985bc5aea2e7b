"""Health, metrics, models and the documentation."""

import json
import re

from openapi_spec_validator import validate
from pydantic import SecretStr

from tests.house.test_house import ROOT


def test_alive_and_ready(client):
    assert (client.get("/livez").json, client.get("/readyz").json) == ({"status": "ok"}, {"status": "ok"})


def test_a_draining_server_is_alive_and_not_ready(client):
    client.application.extensions["llmapi"].drain()
    assert (client.get("/livez").status_code, client.get("/readyz").status_code) == (200, 503)


def test_health_names_every_dependency(client, gemini):
    told = client.get("/health").json
    assert told["status"] == "ok"
    assert {"database", "cache", "jobs", "provider:gemini"} <= set(told["dependencies"])
    gemini.default = 503
    client.post("/v1/text/generate", json={"prompt": "x"})
    after = client.get("/health").json
    assert after["status"] == "degraded"
    assert after["dependencies"]["provider:gemini"]["last_error"] == "provider_unavailable"


def numbers(client):
    return client.get("/metrics").get_data(as_text=True)


def test_metrics_count_requests_calls_tokens_and_the_cache(client):
    for _ in range(3):
        client.post("/v1/text/generate", json={"prompt": "x"})
    told = numbers(client)
    assert re.search(r'llmapi_http_requests_total\{[^}]*route="/v1/text/generate"[^}]*\} 3.0', told)
    assert re.search(r"llmapi_cache_hit_ratio 0\.66", told)
    assert 'cache="hit"' in told


def test_a_caller_cannot_make_new_series(client):
    for number in range(5):
        client.get(f"/v1/nowhere-{number}")
        client.post("/v1/text/generate", json={"prompt": "x", "model": f"odd-{number}"})
    assert "nowhere" not in numbers(client)
    assert "odd-" not in numbers(client)


def test_the_five_aliases_always_exist(client):
    rows = {row["id"]: row for row in client.get("/v1/models").json["data"]}
    assert {"default", "text", "code", "classify", "embed"} <= set(rows)
    assert "gemini-2.0" not in json.dumps(rows["default"])


def test_the_embedded_model_says_how_small_it_is(make):
    rows = make(local=True).get("/v1/models").json["data"]
    assert any("135M" in row["description"] and "not for real work" in row["description"] for row in rows)


def test_the_document_is_valid_openapi_3_1(client):
    document = client.get("/openapi.json").json
    validate(document)
    assert document["openapi"] == "3.1.0"


def test_the_document_is_not_sent_twice(client):
    first = client.get("/openapi.json")
    assert client.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304


def test_every_task_has_examples_and_every_example_is_answered(client, gemini):
    gemini.behaviour = lambda asked: said_to(str(asked.body))
    document = client.get("/openapi.json").json
    for path, told in document["paths"].items():
        for method, operation in told.items():
            for name, example in examples(operation):
                answer = client.open(path, method=method.upper(), json=example)
                # without a network no address exists, and the id in a path is nobody's
                nowhere = answer.status_code == 404 and ("{" in path or path == "/v1/feedback")
                nowhere |= answer.status_code == 422 and (path.startswith("/v1/webhooks") or "file" in example)
                nowhere |= "input_file_id" in example and answer.json["error"]["param"] == "input_file_id"
                assert answer.status_code in (200, 201, 202) or nowhere, (path, name, answer.data)


def said_to(asked):
    """Return an answer that fits an example's question."""
    fitting = {"responseJsonSchema": '{"city": "Lima", "country": "Peru"}', "billing": "billing", "battery": "battery"}
    return next((said for word, said in fitting.items() if word in asked), "positive")


def examples(operation):
    content = operation.get("requestBody", {}).get("content", {}) if isinstance(operation, dict) else {}
    found = content.get("application/json", {}).get("examples", {})
    assert found or not content or "multipart/form-data" in content
    return [(name, row["value"]) for name, row in found.items()]


def test_the_docs_come_from_our_server_under_a_strict_policy(client):
    page = client.get("/docs")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    text = page.get_data(as_text=True)
    assert not re.search(r'(src|href)="(https?:)?//', text)
    assert "<script>" not in text
    for asset in re.findall(r'(?:src|href)="([^"]+)"', text):
        with client.get(asset) as served:
            assert served.status_code == 200, asset


def test_the_docs_can_be_switched_off(make):
    client = make(docs=False)
    assert {client.get(address).status_code for address in ("/docs", "/openapi.json")} == {404}


def test_no_file_outside_the_docs_folder_is_served(client):
    for name in ("../app.py", "..%2f..%2fwsgi.py", "%2e%2e/settings.py", "nothing.js", "%00", "a" * 5000):
        assert client.get(f"/docs/{name}").status_code == 404


def test_the_committed_document_is_the_one_served(client):
    assert client.get("/openapi.json").data == (ROOT / "openapi/openapi.json").read_bytes()


def test_without_any_model_the_service_starts_and_says_which_key_is_missing(make):
    client = make(google_api_key=SecretStr(""))
    assert client.get("/readyz").status_code == 200
    answer = client.post("/v1/text/generate", json={"prompt": "x"})
    assert answer.status_code == 422
    assert "GOOGLE_API_KEY" in answer.json["errors"][0]["message"]
