"""What a caller asks for in headers: less time, a key of his own, the answer he lost."""

import time

import pytest
from pydantic import SecretStr

from tests.fakes.behaviours import Hang

TEXT = "/v1/text/generate"
OWN = "sk-own-0123456789abcdefghij"


@pytest.mark.parametrize("told", ["0", "-1", "soon", "nan", "inf", ""])
def test_a_time_limit_that_is_none_is_refused_by_name(client, told):
    answer = client.post(TEXT, json={"prompt": "Hi"}, headers={"X-Request-Timeout": told})
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "X-Request-Timeout")


def test_a_caller_waits_no_longer_than_he_said(client, gemini):
    gemini.default = Hang()
    begun = time.monotonic()
    answer = client.post(TEXT, json={"prompt": "Hi"}, headers={"X-Request-Timeout": "0.2"})
    assert (answer.status_code, answer.json["code"]) == (504, "provider_timeout")
    assert time.monotonic() - begun < 5.0


def test_a_stream_ends_when_the_callers_time_is_over(client, gemini):
    gemini.default = Hang()
    asked = {"prompt": "Hi", "stream": True}
    answer = client.post(TEXT, json=asked, headers={"X-Request-Timeout": "0.2"})
    assert (answer.status_code, answer.json["code"]) == (504, "provider_timeout")


def test_the_callers_own_key_is_what_the_provider_sees_this_once(make, gemini):
    client = make(cache_entries=1)
    client.post(TEXT, json={"prompt": "Mine"}, headers={"X-Provider-Key": OWN})
    client.post(TEXT, json={"prompt": "Ours"})
    keys = [asked.headers["x-goog-api-key"] for asked in gemini.asked]
    assert keys[0] == OWN
    assert keys[1] != OWN


def test_a_vendor_nobody_has_a_key_for_answers_a_caller_who_brings_one(make, openai_upstream):
    client = make(google_api_key=SecretStr(""), openai_base_url=openai_upstream.base)
    asked = {"prompt": "Hi", "model": "gpt-4o-mini"}
    assert client.post(TEXT, json=asked).status_code == 422
    answer = client.post(TEXT, json=asked, headers={"X-Provider-Key": OWN})
    assert (answer.status_code, answer.json["provider"]) == (200, "openai")
    assert openai_upstream.asked[0].headers["authorization"] == f"Bearer {OWN}"


def test_another_vendor_never_sees_a_callers_key(make, gemini, openai_upstream):
    openai_upstream.default = 503
    aliases = {"both": "gpt-4o-mini, gemini-flash-latest"}
    client = make(aliases=aliases, openai_base_url=openai_upstream.base)
    answer = client.post(TEXT, json={"prompt": "Hi", "model": "both"}, headers={"X-Provider-Key": OWN})
    assert (answer.status_code, gemini.asked) == (503, [])


@pytest.mark.parametrize("key", ["short", "with blanks in it", "x" * 600])
def test_what_cannot_be_a_key_is_refused_by_name(client, key):
    answer = client.post(TEXT, json={"prompt": "Hi"}, headers={"X-Provider-Key": key})
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "X-Provider-Key")


def test_a_callers_key_is_not_kept_for_a_job(client):
    headers = {"X-Provider-Key": OWN, "Prefer": "respond-async"}
    answer = client.post(TEXT, json={"prompt": "Hi"}, headers=headers)
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "X-Provider-Key")


def test_a_request_the_official_sdk_repeats_is_not_paid_again(client, gemini):
    asked = {"prompt": "Hi", "cache": {"mode": "bypass"}}
    lost = client.post(TEXT, json=asked, headers={"x-stainless-retry-count": "0"}).json
    again = client.post(TEXT, json=asked, headers={"x-stainless-retry-count": "1"}).json
    assert (again["output"], again["cache"]["status"], len(gemini.asked)) == (lost["output"], "hit", 1)
