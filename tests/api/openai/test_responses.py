"""POST /v1/responses with OpenAI's own client: at once, as a stream, and in the background."""

import threading
import time

import openai
import pytest
from pydantic import BaseModel, SecretStr

from llmapi.core.calls import ToolCall
from tests.fakes.behaviours import Answer, StreamError

KEYS = [SecretStr("one:key-of-tenant-one"), SecretStr("two:key-of-tenant-two")]
NAMES = ("one", "two")
MODEL = "gpt-4o-mini"
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Tell the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
CALLED = ToolCall(0, "call_1", "weather", '{"city": "Oslo"}')


class City(BaseModel):
    name: str


@pytest.fixture
def address(served):
    return served(auth="required", api_keys=KEYS)


@pytest.fixture
def clients(address):
    """One client of each tenant."""
    opened = [openai.OpenAI(base_url=f"{address}/v1", api_key=f"key-of-tenant-{who}", max_retries=0) for who in NAMES]
    yield opened
    for client in opened:
        client.close()


@pytest.fixture
def sdk(clients):
    return clients[0]


def until(sdk, id, *statuses):
    """Ask for a response until it has one of these statuses."""
    deadline = time.monotonic() + 20
    while (found := sdk.responses.retrieve(id)).status not in statuses:
        assert time.monotonic() < deadline, found.status
        threading.Event().wait(0.02)
    return found


def test_a_text_is_answered_with_what_was_asked_and_what_it_took(sdk, openai_upstream):
    openai_upstream.script = ["The sea is calm."]
    found = sdk.responses.create(
        model=MODEL, input="How is the sea?", instructions="Be brief.", metadata={"job": "7"}, max_output_tokens=99
    )
    assert (found.output_text, found.status, found.model) == ("The sea is calm.", "completed", MODEL)
    assert (found.instructions, found.metadata, found.max_output_tokens) == ("Be brief.", {"job": "7"}, 99)
    assert found.usage.output_tokens == 4
    assert found.usage.total_tokens == found.usage.input_tokens + 4
    assert found.model_extra["store"] is False
    assert found.id.startswith("resp_") and found.completed_at >= found.created_at > 1_700_000_000
    sent = openai_upstream.bodies[0]
    assert [turn["content"] for turn in sent["messages"]] == ["Be brief.", "How is the sea?"]
    assert sent["max_completion_tokens"] == 99


def test_facts_that_have_no_place_in_the_body_stand_in_headers(sdk):
    raw = sdk.responses.with_raw_response.create(model=MODEL, input="How is the sea?")
    assert raw.headers["Cache-Status"] == "llmapi; fwd=miss"
    assert raw.headers["x-ratelimit-limit-requests"]
    assert raw.parse()._request_id in raw.parse().id


def test_a_cut_answer_is_incomplete(sdk, openai_upstream):
    openai_upstream.script = [Answer("The sea", finish="length")]
    found = sdk.responses.create(model=MODEL, input="How is the sea?")
    assert (found.status, found.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert found.output[0].status == "incomplete"


def test_json_after_a_schema_is_checked_and_parsed(sdk, openai_upstream):
    openai_upstream.script = ['{"name": "Oslo"}']
    found = sdk.responses.parse(model=MODEL, input="Name a city.", text_format=City)
    assert found.output_parsed == City(name="Oslo")
    assert openai_upstream.bodies[0]["response_format"]["type"] == "json_schema"


def test_a_function_is_called_and_its_output_goes_back(sdk, openai_upstream):
    openai_upstream.script = [Answer("", tool_calls=(CALLED,)), "It rains."]
    first = sdk.responses.create(model=MODEL, input="Weather in Oslo?", tools=[WEATHER], tool_choice="required")
    (call,) = first.output
    assert (call.type, call.name, call.call_id) == ("function_call", "weather", "call_1")
    assert call.arguments == CALLED.arguments
    said = [
        {"role": "user", "content": "Weather in Oslo?"},
        *first.output,
        {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
    ]
    second = sdk.responses.create(model=MODEL, input=said, tools=[WEATHER])
    assert second.output_text == "It rains."
    _, called, returned = openai_upstream.bodies[1]["messages"]
    assert called["tool_calls"][0]["id"] == returned["tool_call_id"] == "call_1"
    assert openai_upstream.bodies[0]["tool_choice"] == "required"


def test_a_stream_tells_every_step_in_order_and_ends_with_the_whole(sdk, openai_upstream):
    openai_upstream.script = [Answer("The sea is calm.")]
    events = list(sdk.responses.create(model=MODEL, input="How is the sea?", stream=True))
    kinds = [event.type for event in events]
    assert list(dict.fromkeys(kinds)) == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "The sea is calm."
    whole = events[-1].response
    assert (whole.output_text, whole.status, whole.usage.output_tokens) == ("The sea is calm.", "completed", 4)
    assert {event.response.id for event in events if hasattr(event, "response")} == {whole.id}


def test_the_clients_own_reading_of_a_stream_comes_to_the_same(sdk, openai_upstream):
    openai_upstream.script = [Answer('{"name": "Oslo"}')]
    with sdk.responses.stream(model=MODEL, input="Name a city.", text_format=City) as stream:
        for _ in stream:
            pass
        assert stream.get_final_response().output_parsed == City(name="Oslo")


def test_a_streamed_call_of_a_function_grows_and_is_whole_at_the_end(sdk, openai_upstream):
    openai_upstream.script = [Answer("Let me see.", tool_calls=(CALLED,))]
    with sdk.responses.stream(model=MODEL, input="Weather?", tools=[WEATHER]) as stream:
        events = list(stream)
        message, call = stream.get_final_response().output
    assert message.content[0].text == "Let me see."
    assert (call.name, call.call_id, call.status) == ("weather", "call_1", "completed")
    assert call.arguments == CALLED.arguments
    grown = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert len(grown) > 1 and "".join(grown) == CALLED.arguments


def test_a_cut_stream_ends_as_incomplete(sdk, openai_upstream):
    openai_upstream.script = [Answer("The sea", finish="length")]
    last = list(sdk.responses.create(model=MODEL, input="How is the sea?", stream=True))[-1]
    assert (last.type, last.response.incomplete_details.reason) == ("response.incomplete", "max_output_tokens")


def test_a_stream_that_breaks_says_so_once_and_nothing_after_it(sdk, openai_upstream):
    openai_upstream.script = [StreamError("The sea", 503)]
    events = list(sdk.responses.create(model=MODEL, input="How is the sea?", stream=True))
    assert [event.type for event in events].count("response.failed") == 1
    assert events[-1].type == "response.failed"
    assert (events[-1].response.status, events[-1].response.error.code) == ("failed", "server_error")


def test_what_fails_before_a_streams_first_word_is_an_error_with_its_own_status(sdk, openai_upstream):
    openai_upstream.script = [400]
    with pytest.raises(openai.APIStatusError) as caught:
        sdk.responses.create(model=MODEL, input="How is the sea?", stream=True)
    assert caught.value.status_code == 502


def test_a_response_in_the_background_is_queued_and_found_when_it_is_done(sdk, openai_upstream):
    openai_upstream.script = ["The sea is calm."]
    begun = sdk.responses.create(model=MODEL, input="How is the sea?", background=True, metadata={"job": "7"})
    assert (begun.background, begun.model, begun.output_text) == (True, MODEL, "")
    assert begun.status in ("queued", "in_progress", "completed")
    found = until(sdk, begun.id, "completed")
    assert (found.id, found.output_text, found.metadata) == (begun.id, "The sea is calm.", {"job": "7"})
    assert found.usage.output_tokens == 4 and found.model_extra["store"] is True
    assert found.created_at == begun.created_at <= found.completed_at


def test_a_response_in_the_background_that_fails_says_why(sdk, openai_upstream):
    openai_upstream.script = [500] * 9
    begun = sdk.responses.create(model=MODEL, input="How is the sea?", background=True)
    found = until(sdk, begun.id, "failed", "completed")
    assert (found.status, found.error.code, found.output) == ("failed", "server_error", [])


def test_a_running_response_is_cancelled_and_may_be_cancelled_twice(sdk, openai_upstream):
    openai_upstream.script = [Answer("Late.", delay=60)]
    begun = sdk.responses.create(model=MODEL, input="How is the sea?", background=True)
    openai_upstream.wait_asked()
    assert sdk.responses.cancel(begun.id).status in ("in_progress", "cancelled")
    assert until(sdk, begun.id, "cancelled", "completed", "failed").status == "cancelled"
    assert sdk.responses.cancel(begun.id).status == "cancelled"


def test_an_unknown_response_and_somebody_elses_are_not_found(clients):
    sdk, other = clients
    own = sdk.responses.create(model=MODEL, input="How is the sea?", background=True)
    plain = sdk.responses.create(model=MODEL, input="How is the lake?")
    for client, id in ((other, own.id), (sdk, plain.id), (sdk, "resp_job_none"), (sdk, "else")):
        with pytest.raises(openai.NotFoundError) as caught:
            client.responses.retrieve(id)
        assert caught.value.code == "not_found"
    with pytest.raises(openai.NotFoundError):
        other.responses.cancel(own.id)


def test_a_job_of_our_own_door_is_no_response(sdk):
    job = sdk.post("/jobs", body={"task": "text", "request": {"prompt": "Hi", "model": MODEL}}, cast_to=object)
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve(f"resp_{job['id']}")


IMAGE = [{"role": "user", "content": [{"type": "input_text", "text": "?"}, {"type": "input_image", "image_url": "x"}]}]


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"include": ["reasoning.encrypted_content"]}, "include"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"truncation": "auto"}, "truncation"),
        ({"reasoning": {"effort": "high"}}, "reasoning"),
        ({"background": True, "stream": True}, "stream"),
        ({"background": True, "store": False}, "store"),
        ({"background": True, "model": "no-such-model"}, "model"),
        ({"input": IMAGE}, "input.0.content.1"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "input.0.call_id"),
        ({"input": ""}, "input"),
        ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": 7}}}}, "text.format.schema.type"),
        ({"temperature": 9}, "temperature"),
        ({"model": "no-such-model"}, "model"),
        ({"extra_body": {"nonsense": 1}}, "nonsense"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_name(sdk, openai_upstream, wrong, param):
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.responses.create(**{"model": MODEL, "input": "Hi", **wrong})
    assert caught.value.param == param
    assert openai_upstream.asked == []


def test_what_changes_nothing_is_taken(sdk):
    found = sdk.responses.create(
        model=MODEL,
        input="Hi",
        store=True,
        include=[],
        truncation="disabled",
        user="u",
        service_tier="auto",
        parallel_tool_calls=True,
        previous_response_id=None,
        text={"format": {"type": "text"}},
    )
    assert found.status == "completed"


def test_a_key_of_the_callers_own_is_not_kept_for_later(sdk, openai_upstream):
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.responses.create(model=MODEL, input="Hi", background=True, extra_headers={"X-Provider-Key": "sk-own-key-1"})
    assert caught.value.param == "X-Provider-Key"
    assert openai_upstream.asked == []
