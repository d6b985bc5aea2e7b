"""OpenAI's own client holds a conversation through us, whoever the vendor behind is."""

import json

import openai
import pytest
from pydantic import BaseModel

from llmapi.core.calls import ToolCall
from tests.api.openai.conftest import MODELS
from tests.fakes.behaviours import Answer

ASKED = [{"role": "user", "content": "How is the sea?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
OSLO = Answer("", tool_calls=(ToolCall(0, "call_a", "weather", '{"city": "Oslo"}'),))
TWO = Answer("", tool_calls=(*OSLO.tool_calls, ToolCall(1, "call_b", "weather", '{"city": "Rome"}')))


class Place(BaseModel):
    """What a model is asked to fill in."""

    city: str
    people: int


def test_an_answer_comes_as_the_client_knows_it(sdk, model, upstream):
    upstream.script = ["Calm and blue."]
    answer = sdk.chat.completions.create(model=model, messages=ASKED)
    choice = answer.choices[0]
    assert (choice.message.role, choice.message.content) == ("assistant", "Calm and blue.")
    assert choice.finish_reason == "stop"
    assert (answer.object, answer.model, len(answer.choices)) == ("chat.completion", model, 1)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert answer.id == f"chatcmpl-{answer._request_id}"


def test_what_was_asked_reaches_the_vendor(sdk, openai_upstream):
    told = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "How is"}, {"type": "text", "text": "the sea?"}]},
        {"role": "assistant", "content": "Calm."},
        {"role": "user", "content": "And now?", "name": "ann"},
    ]
    knobs = {"temperature": 0.3, "top_p": 0.9, "seed": -1, "stop": "END", "max_completion_tokens": 77}
    sdk.chat.completions.create(model="gpt-4o-mini", messages=told, **knobs)
    body = openai_upstream.bodies[0]
    assert [(turn["role"], turn["content"]) for turn in body["messages"]] == [
        ("system", "Be brief."),
        ("user", "How is\nthe sea?"),
        ("assistant", "Calm."),
        ("user", "And now?"),
    ]
    assert {name: body[name] for name in ("temperature", "top_p", "seed", "stop", "max_completion_tokens")} == {
        **{name: knobs[name] for name in ("temperature", "top_p", "max_completion_tokens")},
        "seed": 2**31 - 1,
        "stop": ["END"],
    }


def test_an_answer_cut_at_max_tokens_says_so(sdk, model, upstream):
    upstream.script = [Answer("Calm and", finish="length")]
    answer = sdk.chat.completions.create(model=model, messages=ASKED, max_tokens=2)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Calm and", "length")


def test_a_stream_comes_to_its_end(sdk, model, upstream):
    upstream.script = [Answer("Calm and blue.")]
    chunks = list(sdk.chat.completions.create(model=model, messages=ASKED, stream=True))
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == "Calm and blue."
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    heads = {(chunk.id, chunk.object, chunk.model) for chunk in chunks}
    assert heads == {(chunks[0].id, "chat.completion.chunk", model)}
    assert all(chunk.usage is None for chunk in chunks)


def test_the_last_chunk_tells_the_usage_if_asked(sdk, model, upstream):
    options = {"include_usage": True}
    plain = sdk.chat.completions.create(model=model, messages=ASKED).usage
    chunks = list(sdk.chat.completions.create(model=model, messages=ASKED, stream=True, stream_options=options))
    assert (chunks[-1].choices, chunks[-1].usage) == ([], plain)
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


def test_a_tool_is_called_and_its_result_answered(sdk, model, upstream):
    upstream.script = [OSLO, "Grey."]
    first = sdk.chat.completions.create(model=model, messages=ASKED, tools=[WEATHER]).choices[0]
    (call,) = first.message.tool_calls
    assert (first.finish_reason, first.message.content) == ("tool_calls", None)
    assert (call.type, call.function.name) == ("function", "weather")
    assert json.loads(call.function.arguments) == {"city": "Oslo"}
    told = [*ASKED, first.message.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    second = sdk.chat.completions.create(model=model, messages=told, tools=[WEATHER]).choices[0]
    assert (second.finish_reason, second.message.content) == ("stop", "Grey.")
    assert "rain" in json.dumps(upstream.bodies[1])


def test_tool_calls_come_in_pieces_of_a_stream(sdk, model, upstream):
    upstream.script = [TWO]
    with sdk.chat.completions.stream(model=model, messages=ASKED, tools=[WEATHER]) as stream:
        choice = stream.get_final_completion().choices[0]
    cities = [json.loads(call.function.arguments)["city"] for call in choice.message.tool_calls]
    assert (choice.finish_reason, cities) == ("tool_calls", ["Oslo", "Rome"])
    assert len({call.id for call in choice.message.tool_calls}) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_one_tool_at_a_time_if_asked(sdk, model, upstream, stream):
    upstream.script = [TWO]
    wanted = {"model": model, "messages": ASKED, "tools": [WEATHER], "parallel_tool_calls": False}
    if stream:
        with sdk.chat.completions.stream(**wanted) as events:
            found = events.get_final_completion()
    else:
        found = sdk.chat.completions.create(**wanted)
    assert [call.function.arguments for call in found.choices[0].message.tool_calls] == ['{"city": "Oslo"}']


def test_json_comes_as_the_schema_has_it_and_without_a_fence(sdk, model, upstream):
    upstream.script = ['Here it is:\n```json\n{"city": "Oslo", "people": 700000}\n```']
    answer = sdk.chat.completions.parse(model=model, messages=ASKED, response_format=Place)
    assert answer.choices[0].message.parsed == Place(city="Oslo", people=700_000)
    assert json.loads(answer.choices[0].message.content) == {"city": "Oslo", "people": 700_000}


def test_json_that_does_not_follow_goes_back_once(sdk, model, upstream):
    upstream.script = ['{"city": "Oslo"}', '{"city": "Oslo", "people": 1}']
    answer = sdk.chat.completions.parse(model=model, messages=ASKED, response_format=Place)
    assert (answer.choices[0].message.parsed.people, len(upstream.asked)) == (1, 2)


def test_a_cut_json_is_the_clients_to_see(sdk, model, upstream):
    upstream.script = [Answer('{"city": "Os', finish="length")]
    with pytest.raises(openai.LengthFinishReasonError):
        sdk.chat.completions.parse(model=model, messages=ASKED, response_format=Place)


def test_any_object_will_do_in_json_mode(sdk, model, upstream):
    upstream.script = ["[1]", '{"any": 1}']
    answer = sdk.chat.completions.create(model=model, messages=ASKED, response_format={"type": "json_object"})
    assert answer.choices[0].message.content == '{"any": 1}'


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_come_with_as_many_alternatives_as_asked(sdk, openai_upstream, stream):
    openai_upstream.script = ["Calm sea."]
    wanted = {"model": MODELS["openai"], "messages": ASKED, "logprobs": True, "top_logprobs": 2}
    found = sdk.chat.completions.create(**wanted, stream=stream)
    choices = [chunk.choices[0] for chunk in found] if stream else found.choices
    rows = [row for choice in choices if choice.logprobs for row in choice.logprobs.content]
    assert "".join(row.token for row in rows) == "Calm sea."
    assert [len(row.top_logprobs) for row in rows] == [2] * len(rows)
    assert bytes(rows[0].bytes).decode() == rows[0].token


def test_a_repeated_question_is_paid_once_and_says_so_in_headers(sdk, model, upstream):
    raw = sdk.chat.completions.with_raw_response
    first, second = (raw.create(model=model, messages=ASKED) for _ in range(2))
    assert first.parse().choices == second.parse().choices
    assert len(upstream.asked) == 1
    assert (first.headers["Cache-Status"], second.headers["Cache-Status"]) == ("llmapi; fwd=miss", "llmapi; hit")
    assert (float(first.headers["X-Cost-USD"]) > 0, second.headers["X-Cost-USD"]) == (True, "0")
