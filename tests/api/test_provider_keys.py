"""/v1/provider-keys: a tenant's own key with a provider pays for its calls, and for nobody else's."""

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from llmapi.core.events import CallFinished
from tests.fakes.behaviours import Status

OURS = "AIzaSyFakeFakeFakeFakeFakeFakeFakeFake"
KEY = "AIzaSyOwnOwnOwnOwnOwnOwnOwnOwnOwnOwnOwn"
SENT = "AIzaSySentAlongSentAlongSentAlongSentAl"
ACME, OTHER = {"Authorization": "Bearer acmes-secret"}, {"Authorization": "Bearer others-secret"}
HOME = "/v1/provider-keys"


@pytest.fixture
def client(make):
    return make(
        auth="required",
        api_keys=(SecretStr("acme:acmes-secret"), SecretStr("other:others-secret")),
        secret_key=(SecretStr(Fernet.generate_key().decode()),),
        retry_attempts=1,
        breaker_calls=3,
    )


@pytest.fixture
def told(client):
    """What was told of finished calls."""
    events: list[CallFinished] = []
    client.application.extensions["llmapi"].bus.listen(
        lambda event: events.append(event) if isinstance(event, CallFinished) else None
    )
    return events


def store(client, key=KEY, provider="gemini", who=ACME):
    return client.put(f"{HOME}/{provider}", json={"key": key}, headers=who)


def ask(client, who, prompt="Hi", **more):
    return client.post("/v1/text/generate", json={"prompt": prompt}, headers={**who, **more})


def keys_seen(gemini):
    return [asked.headers["x-goog-api-key"] for asked in gemini.asked]


def test_a_key_is_stored_listed_without_it_and_forgotten(client):
    stored = store(client)
    assert (stored.status_code, stored.headers["Cache-Control"]) == (200, "no-store")
    assert stored.json["provider"] == "gemini" and stored.json["ending"] == KEY[-4:] and KEY not in stored.text
    assert client.get(HOME, headers=ACME).json == {"data": [stored.json]}
    assert client.delete(f"{HOME}/gemini", headers=ACME).status_code == 204
    assert client.get(HOME, headers=ACME).json == {"data": []}


def test_a_foreign_key_is_like_one_that_is_not(client):
    store(client)
    assert client.get(HOME, headers=OTHER).json == {"data": []}
    foreign, unknown = (client.delete(f"{HOME}/{name}", headers=OTHER) for name in ("gemini", "openai"))
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.json["detail"] == unknown.json["detail"]
    assert len(client.get(HOME, headers=ACME).json["data"]) == 1


def test_what_cannot_be_a_key_and_a_provider_that_takes_none_are_refused(client):
    for key in ("", "short", "with a space", "ключ-ключ-ключ", "line\nfeed-line", 7, None):
        assert store(client, key).status_code == 422, key
    for provider in ("nobody", "local", "..%2f", "x" * 200):
        assert store(client, provider=provider).status_code == 404, provider


def test_a_server_without_a_secret_key_stores_none(make):
    answer = make().put(f"{HOME}/gemini", json={"key": KEY})
    assert answer.status_code == 403 and "LLMAPI_SECRET_KEY" in answer.json["detail"]


def test_the_provider_sees_the_tenants_key_for_its_calls_and_the_operators_for_others(client, gemini, told):
    store(client)
    for who in (ACME, OTHER):
        assert ask(client, who).status_code == 200
    assert keys_seen(gemini) == [KEY, OURS]
    assert [event.own_key for event in told] == [True, False]


def test_a_key_that_comes_with_the_request_wins(client, gemini):
    store(client)
    ask(client, ACME, **{"X-Provider-Key": SENT})
    assert keys_seen(gemini) == [SENT]


def test_after_it_is_deleted_the_operators_key_serves_again(client, gemini):
    store(client)
    ask(client, ACME, "one")
    client.delete(f"{HOME}/gemini", headers=ACME)
    ask(client, ACME, "two")
    assert keys_seen(gemini) == [KEY, OURS]


def test_answers_are_kept_for_the_tenant_as_without_a_key(client, gemini):
    store(client)
    ask(client, ACME)
    assert ask(client, ACME).json["cache"]["status"] == "hit" and len(gemini.asked) == 1


def test_a_stored_key_that_is_refused_harms_nobody_else(client, gemini):
    store(client)
    gemini.script = [Status(401, f"bad key {KEY}")] * 6
    answers = [ask(client, ACME, f"question {number}") for number in range(6)]
    assert {answer.status_code for answer in answers} == {502} and KEY not in "".join(each.text for each in answers)
    assert ask(client, OTHER).status_code == 200
    assert client.application.extensions["llmapi"].guards.breakers.states()[0]["state"] == "closed"


def test_a_failed_call_with_a_stored_key_is_not_the_operators_to_pay(client, gemini, told):
    store(client)
    gemini.script = [Status(500, "broken")]
    ask(client, ACME)
    assert [(event.status, event.own_key) for event in told] == [("provider_unavailable", True)]


def test_who_has_a_key_of_its_own_can_ask_a_vendor_the_operator_has_no_key_for(make, openai_upstream):
    client = make(
        auth="required",
        api_keys=(SecretStr("acme:acmes-secret"), SecretStr("other:others-secret")),
        secret_key=(SecretStr(Fernet.generate_key().decode()),),
        openai_base_url=openai_upstream.base,
    )
    store(client, "sk-proj-acmes-own-key-0001", "openai")
    question = {"prompt": "Hi", "model": "openai/gpt-5-mini"}
    asked = [client.post("/v1/text/generate", json=question, headers=who).status_code for who in (ACME, OTHER)]
    assert asked == [200, 422]
    assert [each.headers["authorization"] for each in openai_upstream.asked] == ["Bearer sk-proj-acmes-own-key-0001"]
