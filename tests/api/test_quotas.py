"""Limits of tokens and of requests under way, as callers of the service meet them."""

import threading

import pytest

from llmapi.api.under_way import ASKING
from llmapi.core.errors import BadSetting
from llmapi.setting_tables import QuotaSettings
from tests.api.test_idempotency import DOORS
from tests.fakes.behaviours import Answer

TEXT = "/v1/text/generate"
FRESH = {"prompt": "Say something.", "max_tokens": 100, "cache": {"mode": "bypass"}}
USED = {"promptTokenCount": 400, "candidatesTokenCount": 90, "totalTokenCount": 490}


def test_a_tenant_beyond_its_tokens_is_told_when_to_come_back(make, gemini):
    client = make(quotas=QuotaSettings(tokens_per_minute=600))
    gemini.default = Answer("Fine.", usage=USED)
    assert client.post(TEXT, json=FRESH).status_code == 200
    refused = client.post(TEXT, json=FRESH)
    assert (refused.status_code, refused.json["code"]) == (429, "rate_limited")
    assert refused.json["details"]["used"] == 490
    assert 55 <= int(refused.headers["Retry-After"]) <= 61
    never = client.post(TEXT, json={**FRESH, "max_tokens": 2000})
    assert (never.status_code, never.headers["X-Should-Retry"]) == (429, "false")
    assert "Retry-After" not in never.headers
    assert len(gemini.asked) == 1


def test_a_models_limit_leaves_other_models_alone(make, gemini):
    client = make(quotas=QuotaSettings(models={"gemini/gemini-flash-latest": "2/minute"}))
    answers = [client.post(TEXT, json={**FRESH, "model": "gemini/gemini-flash-latest"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert client.post(TEXT, json={**FRESH, "model": "gemini/gemini-2.5-pro"}).status_code == 200


def test_a_limit_that_cannot_be_read_stops_the_start(make):
    with pytest.raises(BadSetting, match="quotas.models"):
        make(quotas=QuotaSettings(models={"gemini/gemini-flash-latest": "now and then"}))


def test_a_stream_holds_its_place_until_it_has_ended(make, gemini):
    client, gate = make(quotas=QuotaSettings(key_concurrency=1)), threading.Semaphore(1)
    gemini.default = Answer("One two three.", gate=gate)
    stream = client.post(TEXT, json={**FRESH, "stream": True})
    first = next(stream.response)
    refused = client.post(TEXT, json=FRESH)
    assert (refused.status_code, refused.json["code"], refused.headers["Retry-After"]) == (429, "rate_limited", "1")
    assert client.get("/v1/models").status_code == 200
    for _ in range(100):
        gate.release()
    assert b"event" in first + b"".join(stream.response)
    stream.close()
    assert client.post(TEXT, json=FRESH).status_code == 200


def test_a_failure_gives_its_place_back(make, gemini):
    client = make(quotas=QuotaSettings(key_concurrency=1), retry_attempts=1)
    gemini.default = 500
    for _ in range(3):
        assert client.post(TEXT, json=FRESH).status_code == 503
    assert client.post(TEXT, json={"prompt": 1}).status_code == 422
    gemini.default = Answer("Fine.")
    assert client.post(TEXT, json=FRESH).status_code == 200


def test_every_door_that_asks_a_model_counts(client):
    rules = client.application.url_map.iter_rules()
    assert {rule.endpoint for rule in rules if rule.rule in DOORS} == set(ASKING)
