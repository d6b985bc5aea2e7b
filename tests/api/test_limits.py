"""How often one may ask: at which levels, what is told, and what happens while the counters are away."""

import sqlite3
import time
from contextlib import closing

import http_sf
import pytest
from pydantic import SecretStr

from llmapi.api.limits import limiter_of
from llmapi.core.errors import BadSetting, RateLimited
from llmapi.core.identity import Identity
from llmapi.db.counters import FILE
from llmapi.setting_tables import Limits
from tests.gateway.conftest import run

MODELS, JOBS = "/v1/models", "/v1/jobs"
FIRST, SECOND, OTHER = "first-key-first-key", "second-key-second-key", "third-key-third-key"
KEYS = (SecretStr(FIRST), SecretStr(SECOND), SecretStr(f"acme:{OTHER}"))


def asking(client):
    """Return what asks for a page with a key and tells the status."""
    return lambda path, key, **more: client.get(path, headers={"X-API-Key": key, **more}).status_code


@pytest.fixture
def ring(make):
    """A client of a service with keys, and its services."""

    def opened(**settings):
        client = make(auth="required", api_keys=KEYS, **settings)
        return client, client.application.extensions["llmapi"]

    return opened


def fields(answer, name):
    """Return a list of structured fields: name -> parameters."""
    return {item: params for item, params in http_sf.parse(answer.headers[name].encode(), tltype="list")}


def test_a_key_a_tenant_and_a_route_each_have_their_own_limit(ring):
    client, _ = ring(limits=Limits(models="3/hour"), limit_key="4/hour", limit_tenant="6/hour")
    ask = asking(client)
    assert [ask(MODELS, FIRST) for _ in range(4)] == [200, 200, 200, 429]  # the route's, of this key
    assert [ask(JOBS, FIRST) for _ in range(2)] == [200, 429]  # the key's
    assert [ask(JOBS, SECOND) for _ in range(3)] == [200, 200, 429]  # the tenant's
    assert ask(JOBS, OTHER) == 200


def test_a_refused_request_counts_at_no_level(ring):
    client, _ = ring(limits=Limits(models="1/hour"), limit_tenant="3/hour")
    ask = asking(client)
    assert [ask(MODELS, FIRST) for _ in range(5)] == [200, 429, 429, 429, 429]
    assert [ask(JOBS, FIRST) for _ in range(3)] == [200, 200, 429]


def test_a_user_is_counted_where_a_key_may_name_one(ring):
    client, services = ring(limit_user="2/hour")
    _, trusted = services.keyring.create("default", name="a", role="admin", may_name_user=True)
    _, plain = services.keyring.create("default", name="b", role="admin")
    ask = asking(client)
    ann = {"X-User-ID": "ann"}
    assert [ask(MODELS, trusted, **ann), ask(JOBS, trusted, **ann), ask(MODELS, trusted, **ann)] == [200, 200, 429]
    assert [ask(MODELS, trusted, **{"X-User-ID": "bob"}), ask(MODELS, trusted), ask(MODELS, plain, **ann)] == [200] * 3


def test_a_plan_takes_the_place_of_a_route_s_limit_for_who_is_under_it(ring):
    client, services = ring(limits=Limits(models="1/hour", jobs="1/hour"))
    services.plans.create("gold", limits={"requests": {"models": "2/hour"}})
    services.plans.create("lead", limits={"requests": {"*": "3/hour"}})
    made = {name: services.keyring.create("default", name=name, role="admin", plan=name) for name in ("gold", "lead")}
    keys = {name: key for name, (_, key) in made.items()}
    ask = asking(client)
    assert [ask(MODELS, keys["gold"]) for _ in range(3)] == [200, 200, 429]
    assert [ask(JOBS, keys["gold"]) for _ in range(2)] == [200, 429]  # the plan says nothing about it
    assert [ask(JOBS, keys["lead"]) for _ in range(4)] == [200, 200, 200, 429]
    assert [ask(MODELS, FIRST) for _ in range(2)] == [200, 429]


def test_a_changed_plan_is_in_force_at_once_and_what_was_asked_before_is_counted(ring):
    client, services = ring()
    services.plans.create("gold", limits={"requests": {"*": "2/hour"}})
    key = services.keyring.create("default", name="gold", role="admin", plan="gold")[1]
    ask = asking(client)
    assert [ask(MODELS, key) for _ in range(3)] == [200, 200, 429]
    services.plans.update("gold", limits={"requests": {"*": "3/hour"}})
    assert [ask(MODELS, key) for _ in range(2)] == [200, 429]


def test_all_limits_are_told_in_headers_that_can_be_parsed(ring):
    client, _ = ring(limits=Limits(models="9/minute;90/hour"), limit_key="5/minute", limit_tenant="70/day")
    answer = client.get(MODELS, headers={"X-API-Key": FIRST})
    assert fields(answer, "RateLimit-Policy") == {
        "models-60s": {"q": 9, "w": 60},
        "models-3600s": {"q": 90, "w": 3600},
        "key": {"q": 5, "w": 60},
        "tenant": {"q": 70, "w": 86_400},
    }
    assert fields(answer, "RateLimit") == {
        "models-60s": {"r": 8, "t": 60},
        "models-3600s": {"r": 89, "t": 3600},
        "key": {"r": 4, "t": 60},
        "tenant": {"r": 69, "t": 86_400},
    }
    assert (answer.headers["X-RateLimit-Limit"], answer.headers["X-RateLimit-Remaining"]) == ("5", "4")
    assert 59 <= int(answer.headers["X-RateLimit-Reset"]) - time.time() <= 61
    assert "Retry-After" not in answer.headers


def test_who_waits_as_long_as_retry_after_says_is_let_in(make):
    client = make(limits=Limits(models="2/2 seconds"))
    assert [client.get(MODELS).status_code for _ in range(2)] == [200, 200]
    refused = client.get(MODELS)
    assert (refused.status_code, refused.json["code"]) == (429, "rate_limited")
    assert refused.json["detail"] == "the limit of this route is 2 per 2 second"
    assert fields(refused, "RateLimit") == {"models": {"r": 0, "t": int(refused.headers["Retry-After"])}}
    end = time.monotonic() + int(refused.headers["Retry-After"])
    while (answer := client.get(MODELS)).status_code == 429:
        assert time.monotonic() < end + 0.2
    assert answer.headers["X-RateLimit-Remaining"] == "0" or time.monotonic() > end - 2


def test_openai_s_headers_tell_of_the_tightest_limit(make, gemini):
    client = make(limits=Limits(chat_completions="90/hour"), limit_key="5/minute", limit_tenant="70/day")
    asked = {"model": "default", "messages": [{"role": "user", "content": "Hi"}]}
    told = client.post("/v1/chat/completions", json=asked).headers
    assert [told[f"x-ratelimit-{name}-requests"] for name in ("limit", "remaining", "reset")] == ["5", "4", "1m0s"]


def test_what_comes_through_another_door_counts_at_every_level(make):
    client = make(limit_tenant="2/hour")
    limiter = limiter_of(client.application)
    for _ in range(2):
        limiter.count("text", Identity("default", "127.0.0.1"))
    with pytest.raises(RateLimited, match="the limit of this tenant is 2 per 1 hour"):
        limiter.count("chat", Identity("default", "somebody else"))
    assert client.get(MODELS).status_code == 429


@pytest.mark.parametrize("setting", ["limit_key", "limit_user", "limit_tenant"])
def test_a_limit_of_a_level_that_cannot_be_read_stops_the_start(make, setting):
    with pytest.raises(BadSetting, match=setting):
        make(**{setting: "often"})


def test_a_locked_counter_file_neither_hangs_nor_lets_everything_through(make, tmp_path):
    client = make(limits=Limits(models="4/hour"), limit_store="shared")
    client.get(MODELS)
    with closing(sqlite3.connect(tmp_path / "data0" / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answers = [client.get(MODELS) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]  # counted in memory meanwhile
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]


def test_when_the_counter_file_fails_many_at_once_all_of_them_are_counted_in_memory(make, tmp_path):
    client = make(limits=Limits(models="24/hour"), limit_store="shared")
    client.get(MODELS)
    with closing(sqlite3.connect(tmp_path / "data0" / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answers = run(*[lambda: client.application.test_client().get(MODELS).status_code] * 32)
    assert (answers.count(200), answers.count(429)) == (23, 9)


def test_counted_at_valkey_a_limit_holds_over_two_services_and_without_it_too(make, valkey):
    settings = {"limits": Limits(models="6/hour"), "limit_url": valkey.url}
    ours, theirs = make(**settings), make(**settings)
    assert [client.get(MODELS).status_code for client in (ours, theirs) * 4] == [200] * 6 + [429] * 2
    valkey.kill()
    assert [ours.get(MODELS).status_code for _ in range(5)] == [200, 200, 200, 429, 429]  # 3 were its own before


def test_a_limit_can_be_counted_in_the_database(make, postgres):
    url = postgres.new()
    client = make(limits=Limits(models="2/hour"), limit_url="database", database_url=url)
    assert [client.get(MODELS).status_code for _ in range(3)] == [200, 200, 429]
    services = client.application.extensions["llmapi"]
    services.drain()
    services.close()
    postgres.drop(url)
