"""Who is let in, with what kind of key, and what a key may do."""

import re
from datetime import timedelta

import pytest
from pydantic import SecretStr

from llmapi.api import scopes
from llmapi.api.auth import PUBLIC, Callers, StaticKeys
from llmapi.api.v1.websocket import ticket_holder
from llmapi.core.clock import utc_now
from llmapi.core.errors import Unauthenticated
from llmapi.core.identity import Payer
from llmapi.tenants.key_words import new_key, new_secret
from llmapi.tenants.roles import ALL, SCOPES, allows

STATIC = (SecretStr("first-key-first-key"),)
ASKED = {"prompt": "Hello", "cache": {"mode": "bypass"}}
HERE = {"REMOTE_ADDR": "127.0.0.1"}
TEXT = "/v1/text/generate"


@pytest.fixture
def client(make):
    return make(auth="required", api_keys=STATIC)


@pytest.fixture
def ring(client):
    return client.application.extensions["llmapi"].keyring


def with_key(key, **more):
    return {"X-API-Key": key, **more}


def payers(client):
    """Return who pays for each call from now on."""
    told = []
    client.application.extensions["llmapi"].bus.listen(
        lambda event: told.append(event.payer) if hasattr(event, "payer") else None
    )
    return told


def test_a_key_of_the_keyring_comes_in_and_its_id_is_what_is_counted(client, ring):
    row, key = ring.create("default", name="ci", role="developer")
    told = payers(client)
    for headers in (with_key(key), {"Authorization": f"Bearer {key}"}, {"Authorization": f"bearer  {key} "}):
        assert client.post(TEXT, json=ASKED, headers=headers).status_code == 200
    assert {payer.key for payer in told} == {row.id}


def test_every_wrong_key_has_the_same_answer_to_the_byte(client, ring):
    row, _ = ring.create("default", name="ci", role="viewer")
    gone, revoked = ring.create("default", name="old", role="viewer")
    ring.revoke("default", gone.id)
    _, elsewhere = ring.create("default", name="far", role="viewer", addresses=["192.0.2.0/24"])
    wrong = ["", "x", new_key()[1], new_secret(row.id), revoked, elsewhere, "first-key-first-kez"]
    answers = [client.get("/v1/models", headers=with_key(key, **{"X-Request-ID": "same"})) for key in wrong]
    assert {(answer.status_code, answer.data, answer.headers["WWW-Authenticate"]) for answer in answers} == {
        (401, answers[0].data, "Bearer")
    }


def test_a_revoked_key_is_refused_at_once_where_it_was_revoked(client, ring):
    row, key = ring.create("default", name="ci", role="viewer")
    assert client.get("/v1/models", headers=with_key(key)).status_code == 200
    ring.revoke("default", row.id)
    assert client.get("/v1/models", headers=with_key(key)).status_code == 401


def test_keys_of_the_settings_end_with_their_tenant_and_the_operators_do_not(make):
    client = make(auth="required", api_keys=(*STATIC, SecretStr("acme:key-of-acme")))
    tenants = client.application.extensions["llmapi"].tenants
    tenants.create("acme")
    told = []
    for act in (tenants.suspend, tenants.resume):
        act("acme")
        headers = [with_key("key-of-acme"), with_key("first-key-first-key")]
        told.append([client.get("/v1/models", headers=each).status_code for each in headers])
    assert told == [[401, 200], [200, 200]]


def test_a_ticket_of_a_key_of_the_settings_ends_with_its_tenant(make):
    client = make(auth="required", api_keys=(SecretStr("acme:key-of-acme"),))
    tenants = client.application.extensions["llmapi"].tenants
    tenants.create("acme")
    ticket = client.post("/v1/ws/tickets", headers=with_key("key-of-acme")).json["ticket"]
    tenants.suspend("acme")
    with client.application.test_request_context(f"/v1/ws?ticket={ticket}", environ_base=HERE):
        with pytest.raises(Unauthenticated):
            ticket_holder()


def test_an_address_is_the_one_the_proxy_saw(make):
    client = make(auth="required", trusted_proxies=1)
    ring = client.application.extensions["llmapi"].keyring
    _, key = ring.create("default", name="ci", role="viewer", addresses=["192.0.2.0/24", "2001:db8::/32"])
    for address, status in (("192.0.2.9", 200), ("2001:db8::5", 200), ("::ffff:192.0.2.9", 200), ("192.0.3.9", 401)):
        told = client.get("/v1/models", headers=with_key(key, **{"X-Forwarded-For": f"10.0.0.1, {address}"}))
        assert told.status_code == status, address


def test_a_missing_scope_is_named_and_nothing_is_asked(client, ring, gemini):
    _, key = ring.create("default", name="ci", role="viewer")
    answer = client.post(TEXT, json=ASKED, headers=with_key(key))
    assert (answer.status_code, answer.json["code"]) == (403, "forbidden")
    assert answer.json["details"] == {"scope": "tasks:run"}
    assert gemini.asked == []


def test_a_job_needs_the_scope_of_what_it_does(client, ring):
    _, key = ring.create("default", name="ci", role="developer", scopes=["jobs:*"])
    answer = client.post("/v1/jobs", json={"task": "text", "request": {"prompt": "x"}}, headers=with_key(key))
    assert (answer.status_code, answer.json["details"]) == (403, {"scope": "tasks:run"})


def test_a_user_is_believed_only_from_who_may_name_one(client, ring):
    trusted = ring.create("default", name="app", role="developer", may_name_user=True)[1]
    plain = ring.create("default", name="ci", role="developer")[1]
    told = payers(client)
    for key in (trusted, plain, "first-key-first-key"):
        assert client.post(TEXT, json=ASKED, headers=with_key(key, **{"X-User-ID": "ann"})).status_code == 200
    assert [payer.user for payer in told] == ["ann", "", "ann"]


@pytest.mark.parametrize("user", ["", " ", "a" * 129, "a\tb", "é", " a"])
def test_a_user_has_a_name_that_can_be_printed(client, user):
    environ = {"HTTP_X_USER_ID": user}
    answer = client.get("/v1/models", headers=with_key("first-key-first-key"), environ_overrides=environ)
    assert (answer.status_code, [each["field"] for each in answer.json["errors"]]) == (422, ["X-User-ID"])


def test_a_key_that_signs_is_not_good_as_it_is(client, ring):
    _, key = ring.create("default", name="ci", role="viewer", requires_signature=True)
    assert client.get("/v1/models", headers=with_key(key)).status_code == 401


def test_who_signs_is_known_by_the_id_of_its_key(client, ring):
    row, _ = ring.create("default", name="ci", role="viewer", requires_signature=True)
    signed = Callers(StaticKeys(STATIC), ring, lambda request: request.headers.get("Signed-By"))
    with client.application.test_request_context(headers={"Signed-By": row.id}):
        assert signed.of_request().name == f"key-{row.id}"
    for id in ("unknown", StaticKeys(STATIC).identity("first-key-first-key").payer.key):
        with client.application.test_request_context(headers={"Signed-By": id}), pytest.raises(Unauthenticated):
            signed.of_request()
    with client.application.test_request_context(headers=with_key("first-key-first-key")):
        assert signed.of_request().scopes == {ALL}


def test_a_browser_asks_before_it_sends_a_key(make):
    client = make(auth="required", api_keys=STATIC, cors_origins=("https://app.example.org",))
    ask = {"Origin": "https://app.example.org", "Access-Control-Request-Method": "POST"}
    answer = client.options(TEXT, headers=ask)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, "https://app.example.org")
    assert client.options(TEXT).status_code == 401


def test_a_browser_may_ask_about_every_address_and_nothing_is_written_down(make):
    client = make(auth="required", api_keys=STATIC, cors_origins=("https://app.example.org",))
    ask = {"Origin": "https://app.example.org", "Access-Control-Request-Method": "POST"}
    paths = {re.sub("<[^>]+>", "x", rule.rule) for rule in client.application.url_map.iter_rules()}
    assert {client.options(path, headers=ask).status_code for path in paths} == {200}
    assert client.options("/v1/keys", headers=with_key("first-key-first-key")).status_code == 200
    assert client.application.extensions["llmapi"].audit.page(None).entries == ()


def test_every_view_says_who_may_use_it(client):
    for rule in client.application.url_map.iter_rules():
        for method in rule.methods - {"OPTIONS"}:
            needed = scopes.needed_for(rule.endpoint, method)
            assert rule.endpoint in PUBLIC or ALL not in needed, rule.endpoint
            assert set(needed) <= set(SCOPES) | {ALL}


def test_the_table_names_views_there_are(client):
    endpoints = {rule.endpoint for rule in client.application.url_map.iter_rules()}
    assert {endpoint for endpoint, _ in scopes.BY_VIEW} <= endpoints


def test_a_view_nobody_decided_about_is_for_those_who_may_everything():
    assert scopes.needed_for("unknown.View", "GET") == (ALL,)
    assert not any(allows(set(SCOPES), scope) for scope in scopes.needed_for("unknown.View", "GET"))


def test_a_ticket_stands_for_its_key_as_it_is_now(client, ring):
    row, key = ring.create("default", name="ci", role="developer", may_name_user=True)
    headers = with_key(key, **{"X-User-ID": "ann"})
    tickets = [client.post("/v1/ws/tickets", headers=headers).json["ticket"] for _ in range(2)]
    ring.update("default", row.id, {"scopes": ["tasks:run"]})
    with client.application.test_request_context(f"/v1/ws?ticket={tickets[0]}", environ_base=HERE):
        found = ticket_holder()
        assert (found.payer, found.scopes) == (Payer(key=row.id, user="ann"), {"tasks:run"})
    ring.revoke("default", row.id)
    with client.application.test_request_context(f"/v1/ws?ticket={tickets[1]}", environ_base=HERE):
        with pytest.raises(Unauthenticated):
            ticket_holder()


def test_an_expired_key_is_refused(client, ring):
    _, key = ring.create("default", name="ci", role="viewer", expires=utc_now() + timedelta(seconds=0.05))
    assert client.get("/v1/models", headers=with_key(key)).status_code in (200, 401)
    while ring.identify(key, "127.0.0.1"):
        pass
    assert client.get("/v1/models", headers=with_key(key)).status_code == 401


def test_the_first_key_is_shown_once_and_is_good(make, tmp_path, capsys):
    made = [make(auth="required", data_dir=tmp_path / "same") for _ in range(2)]
    shown = [word for word in capsys.readouterr().err.split() if word.startswith("lak_")]
    assert len(shown) == 1
    assert {client.get("/metrics", headers=with_key(shown[0])).status_code for client in made} == {200}


@pytest.mark.parametrize("settings", [{"auth": "off"}, {"auth": "required", "api_keys": STATIC}])
def test_no_first_key_is_made_where_there_is_another_way_in(make, capsys, settings):
    make(**settings)
    assert "lak_" not in capsys.readouterr().err
