"""What OpenAI's client makes of our errors: the right class, the field, the request id; and when it tries again."""

import http.client
import json
import threading

import openai
import pytest
from pydantic import SecretStr

from llmapi.setting_tables import Limits
from tests.fakes.behaviours import Answer, Blocked, Status, StreamError

ASKED = [{"role": "user", "content": "How is the sea?"}]
MODEL = "gpt-4o-mini"
TOOL = {"type": "function", "function": {"name": "weather"}}
NO_SCHEMA = {"type": "json_schema", "json_schema": {"schema": {"type": 1}}}


def ask(client, **more):
    return client.chat.completions.create(**{"model": MODEL, "messages": ASKED, **more})


@pytest.mark.parametrize(
    ("param", "more"),
    [
        ("model", {"model": "nobody-knows-it"}),
        ("n", {"n": 2}),
        ("presence_penalty", {"presence_penalty": 0.5}),
        ("logit_bias", {"logit_bias": {"50256": -100}}),
        ("temperature", {"temperature": 3}),
        ("max_tokens", {"max_tokens": 0}),
        ("stop", {"stop": list("abcde")}),
        ("logprobs", {"logprobs": True, "model": "gemini-flash-latest"}),
        ("top_logprobs", {"top_logprobs": 3}),
        ("stream_options", {"stream_options": {"include_usage": True}}),
        ("tool_choice", {"tool_choice": "required"}),
        ("tool_choice", {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "other"}}}),
        ("tools.0.type", {"tools": [{"type": "custom", "custom": {"name": "x"}}]}),
        ("response_format.type", {"response_format": {"type": "grammar"}}),
        ("response_format.schema", {"response_format": NO_SCHEMA}),
        ("messages", {"messages": []}),
        ("messages.0.content", {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}),
        ("messages.0.role", {"messages": [{"role": "robot", "content": "x"}]}),
        ("messages.1.tool_call_id", {"messages": [*ASKED, {"role": "tool", "tool_call_id": "c", "content": "x"}]}),
        ("messages.0.colour", {"messages": [{"role": "user", "content": "x", "colour": "red"}]}),
        ("colour", {"extra_body": {"colour": "red"}}),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(sdk, openai_upstream, param, more):
    with pytest.raises(openai.BadRequestError) as refused:
        ask(sdk, **more)
    assert refused.value.param.startswith(param)
    assert (refused.value.type, refused.value.status_code) == ("invalid_request_error", 400)
    assert refused.value.request_id
    assert openai_upstream.asked == []


NEUTRAL = {
    "frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}, "n": 1, "user": "u", "metadata": {"a": "b"},
    "store": False, "service_tier": "auto", "parallel_tool_calls": True, "prompt_cache_key": "k", "stop": None,
    "safety_identifier": "s", "modalities": ["text"], "response_format": {"type": "text"}, "tool_choice": "none",
}  # fmt: skip


def test_what_changes_nothing_is_taken(sdk):
    assert ask(sdk, **NEUTRAL).choices[0].message.content == "Fine."


@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        (Status(503), openai.InternalServerError, "provider_unavailable"),
        (Status(500), openai.InternalServerError, "provider_unavailable"),
        (Status(429), openai.RateLimitError, "rate_limit_exceeded"),
        (Status(401), openai.InternalServerError, "provider_invalid"),  # our key, not the caller's
        (Blocked(), openai.BadRequestError, "content_blocked"),
        (Status(400, "maximum context length", details="context_length_exceeded"), openai.BadRequestError,
         "context_length_exceeded"),
    ],
)  # fmt: skip
def test_a_vendors_failure_has_the_class_the_client_knows(sdk, openai_upstream, said, kind, code):
    openai_upstream.default = said
    for stream in (False, True):
        with pytest.raises(kind) as failed:
            ask(sdk, stream=stream)
        assert (failed.value.code, bool(failed.value.request_id)) == (code, True)


def test_a_wrong_key_is_an_authentication_error(connect):
    client = connect(auth="required", api_keys=(SecretStr("good-key-good-key"),), api_key="wrong")
    with pytest.raises(openai.AuthenticationError) as refused:
        ask(client)
    assert (refused.value.type, refused.value.code) == ("authentication_error", "invalid_api_key")
    with pytest.raises(openai.AuthenticationError):
        client.models.list()


def test_too_many_requests_are_told_with_the_time_to_wait(connect):
    client = connect(limits=Limits(chat_completions="1/minute"), max_retries=1)
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=ASKED)
    assert raw.headers["x-ratelimit-limit-requests"] == "1"
    assert raw.headers["x-ratelimit-remaining-requests"] == "0"
    with pytest.raises(openai.RateLimitError) as refused:
        ask(client)
    told = refused.value.response.headers
    assert refused.value.code == "rate_limit_exceeded"
    assert told["x-ratelimit-reset-requests"] in ("1m0s", "59s", "58s")
    assert client.naps == [float(told["retry-after"])]


@pytest.mark.parametrize("status", [503, 429])
def test_the_clients_own_retries_lead_to_the_answer(connect, openai_upstream, status):
    client = connect(max_retries=2)
    openai_upstream.script = [Status(status, headers={"Retry-After": "7"}), status, "Calm."]
    assert ask(client).choices[0].message.content == "Calm."
    assert len(client.naps) == 2
    assert client.naps[0] == pytest.approx(8.0, abs=1.0)


def test_what_is_permanent_is_not_tried_again(connect, openai_upstream):
    client = connect(max_retries=2)
    openai_upstream.default = 401
    with pytest.raises(openai.InternalServerError) as failed:
        ask(client)
    assert failed.value.response.headers["x-should-retry"] == "false"
    assert len(openai_upstream.asked) == 1


def test_a_stream_that_breaks_raises_instead_of_ending(sdk, openai_upstream):
    openai_upstream.script = [StreamError("Half ")]
    said = []
    with pytest.raises(openai.APIError) as failed:
        for chunk in ask(sdk, stream=True):
            said.append(chunk.choices[0].delta.content)
    assert "".join(filter(None, said)) == "Half "
    assert failed.value.code == "provider_unavailable"


def test_comments_in_a_models_silence_are_passed_over(connect, openai_upstream):
    gate = threading.Semaphore(0)
    openai_upstream.script = [Answer("Calm.", gate=gate)]
    stream = ask(connect(heartbeat=0.01), stream=True)  # the model is silent: these headers came with a comment
    gate.release(100)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Calm."


CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("method", "path", "kind", "body", "status"),
    [
        ("GET", CHAT, "application/json", b"", 405),
        ("POST", CHAT + "/nothing", "application/json", b"{}", 404),
        ("POST", CHAT, "text/plain", b"{}", 415),
        ("POST", CHAT, "application/json", b"{", 400),
        ("POST", CHAT, "application/json", b"[]", 400),
        ("POST", CHAT, "application/json", b"[" * 70 + b"]" * 70, 400),
        ("POST", CHAT, "application/json", b" " * 2048, 413),
        ("GET", "/v1/models/none", "", b"", 404),
    ],
)
def test_every_error_at_these_addresses_has_openais_shape(served, method, path, kind, body, status):
    connection = http.client.HTTPConnection(served(max_body=1024).removeprefix("http://"), timeout=10)
    connection.request(method, path, body, {"Content-Type": kind})
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    assert answer.status == status
    assert set(told["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-request-id"]
    assert (answer.headers["Allow"] is not None) == (status == 405)


def test_errors_elsewhere_keep_our_shape(served):
    connection = http.client.HTTPConnection(served().removeprefix("http://"), timeout=10)
    connection.request("GET", "/v1/chat/completions-of-mine")
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    assert (told["code"], answer.headers["Content-Type"]) == ("not_found", "application/problem+json")
