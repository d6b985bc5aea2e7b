"""Claude through the real LangChain client, against a fake on a socket."""

import threading
import time

import pytest

from llmapi.core.calls import Message, Tool, ToolCall, Usage
from llmapi.core.errors import ProviderBroken, ProviderInvalid, ProviderRefused, ProviderTimeout, ProviderUnavailable
from llmapi.providers.anthropic import Anthropic, bindable
from tests.fakes.behaviours import Answer, Blocked, Empty, Hang

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["a", "b"]}, "why": {"type": "string"}},
    "required": ["label"],
    "additionalProperties": False,
}
WEATHER = Tool("weather", "Tell the weather", {"type": "object", "properties": {"city": {"type": "string"}}})
CALLS = (ToolCall(0, "toolu_1", "weather", '{"city": "Rome"}'), ToolCall(1, "toolu_2", "weather", "{}"))


@pytest.fixture
def vendor(anthropic_upstream, transport):
    return Anthropic("the-key", anthropic_upstream.url, transport=transport)


@pytest.fixture
def ask(vendor, question):
    """Ask and read to the end."""
    return lambda **fields: vendor.ask(question("anthropic", **fields)).completion()


def failing(ask, kind, **fields):
    """Return the error that an answer becomes."""
    with pytest.raises(kind) as caught:
        ask(**fields)
    assert type(caught.value) is kind
    return caught.value


@BOTH
def test_an_answer_comes_with_its_usage_and_its_reason_to_end(ask, anthropic_upstream, stream):
    anthropic_upstream.script = [Answer("It is so.", thinking=7, cached=1)]
    said = ask(stream=stream)
    assert (said.text, said.finish) == ("It is so.", "stop")
    assert said.usage == Usage(input_tokens=2, output_tokens=10, cached_tokens=1, reasoning_tokens=7)


def test_a_plain_answer_is_one_chunk_and_a_streamed_one_comes_in_pieces(vendor, question, anthropic_upstream):
    anthropic_upstream.script = ["a b c", "a b c"]
    assert [chunk.text for chunk in vendor.ask(question("anthropic"))] == ["a b c"]
    streamed = [chunk.text for chunk in vendor.ask(question("anthropic", stream=True))]
    assert [text for text in streamed if text] == ["a", " b", " c"]


@BOTH
@pytest.mark.parametrize("word, finish", [("max_tokens", "length"), ("stop_sequence", "stop"), ("pause_turn", "other")])
def test_every_reason_to_end_has_our_name(ask, anthropic_upstream, stream, word, finish):
    anthropic_upstream.script = [Answer(extra={"stop_reason": word})]
    assert ask(stream=stream).finish == finish


def test_everything_a_call_says_reaches_claude(ask, anthropic_upstream):
    turns = (Message("system", "Be brief"), Message("user", "Hi"), Message("assistant", "Ho"), Message("user", "He"))
    ask(model="claude-haiku-4-5", messages=turns, temperature=0.5, stop=("END", "\n"), max_tokens=33, schema=SCHEMA)
    body = anthropic_upstream.bodies[0]
    assert [(turn["role"], turn["content"]) for turn in body.pop("messages")] == [
        ("user", "Hi"),
        ("assistant", "Ho"),
        ("user", "He"),
    ]
    assert body.pop("output_config")["format"]["schema"] == SCHEMA
    assert body == {
        "model": "claude-haiku-4-5",
        "system": "Be brief",
        "max_tokens": 33,
        "temperature": 0.5,
        "stop_sequences": ["END"],
    }


def test_what_a_call_leaves_open_is_not_sent_but_for_the_limit_it_must_have(ask, anthropic_upstream):
    ask()
    assert set(anthropic_upstream.bodies[0]) == {"model", "messages", "max_tokens"}


@pytest.mark.parametrize(
    "model, wanted, sent",
    [
        ("claude-haiku-4-5", {"temperature": 1.7}, {"temperature": 1.0}),
        ("claude-opus-4-5-20251101", {"temperature": 0.0, "top_p": 0.9}, {"temperature": 0.0}),
        ("claude-sonnet-4-6", {"top_p": 0.9}, {"top_p": 0.9}),
        ("claude-opus-4-7", {"temperature": 0.5}, {}),
        ("claude-sonnet-5-5", {"temperature": 0.5, "top_p": 0.5}, {}),
        ("claude-next", {"temperature": 0.5}, {}),
    ],
)
def test_sampling_is_sent_as_far_as_the_model_takes_it(ask, anthropic_upstream, model, wanted, sent):
    ask(model=model, **wanted)
    body = anthropic_upstream.bodies[0]
    assert {name: body[name] for name in ("temperature", "top_p") if name in body} == sent


def test_system_messages_all_go_to_the_one_place_for_them(ask, anthropic_upstream):
    ask(messages=tuple(Message(role, role[0]) for role in ("system", "system", "user", "system", "user")))
    body = anthropic_upstream.bodies[0]
    assert body["system"] == "s\n\ns\n\ns"
    assert {turn["role"] for turn in body["messages"]} == {"user"}


@pytest.mark.parametrize(
    "schema, binds",
    [
        (SCHEMA, True),
        ({"type": "array", "items": SCHEMA, "minItems": 3}, True),
        ({**SCHEMA, "additionalProperties": True}, False),
        ({"type": "object", "properties": {"free": {"type": "object"}}, "additionalProperties": False}, False),
        ({"type": "array", "items": {"$ref": "#"}}, False),
        ({"type": ["string", "null"]}, False),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, True),
        ({}, False),
        (True, False),
    ],
)
def test_a_schema_binds_only_where_the_api_takes_it_for_what_it_says(schema, binds):
    assert bindable(schema) is binds


def test_a_schema_that_cannot_bind_is_left_to_the_prompt(ask, anthropic_upstream):
    ask(schema={"type": "object"})
    ask(schema=SCHEMA, model="claude-opus-4-1")
    assert not any("output_config" in body for body in anthropic_upstream.bodies)


@BOTH
def test_tools_go_out_and_their_calls_come_back_numbered(ask, anthropic_upstream, stream):
    anthropic_upstream.script = [Answer("Let me look.", tool_calls=CALLS)]
    said = ask(stream=stream, tools=(WEATHER, Tool("stop")), tool_choice="required")
    body = anthropic_upstream.bodies[0]
    assert body["tools"] == [
        {"name": "weather", "description": "Tell the weather", "input_schema": WEATHER.parameters},
        {"name": "stop", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert body["tool_choice"] == {"type": "any"}
    assert (said.text, said.finish) == ("Let me look.", "tool_calls")
    assert said.tool_calls == CALLS


@BOTH
def test_a_tool_call_without_a_word_is_an_answer(ask, anthropic_upstream, stream):
    anthropic_upstream.script = [Answer("", tool_calls=CALLS[:1])]
    said = ask(stream=stream, tools=(WEATHER,))
    assert (said.text, len(said.tool_calls), said.finish) == ("", 1, "tool_calls")


@pytest.mark.parametrize(
    "wanted, model, sent",
    [
        ("", "m", None),
        ("auto", "m", {"type": "auto"}),
        ("none", "m", {"type": "none"}),
        ("weather", "m", {"type": "tool", "name": "weather"}),
        ("weather", "claude-opus-5-5", {"type": "auto"}),
    ],
)
def test_a_tool_choice_has_anthropics_words(ask, anthropic_upstream, wanted, model, sent):
    ask(model=model, tools=(WEATHER,), tool_choice=wanted)
    assert anthropic_upstream.bodies[0].get("tool_choice") == sent


def test_a_tools_result_goes_back_beside_the_call_it_answers(ask, anthropic_upstream):
    turns = (
        Message("user", "Hot?"),
        Message("assistant", "", tool_calls=CALLS[:1]),
        Message("tool", "31", tool_call_id="toolu_1"),
    )
    ask(messages=turns, tools=(WEATHER,))
    _, asked, told = anthropic_upstream.bodies[0]["messages"]
    use = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}}
    assert asked == {"role": "assistant", "content": [use]}
    assert told["role"] == "user"
    assert told["content"][0].items() >= {"type": "tool_result", "tool_use_id": "toolu_1", "content": "31"}.items()


@BOTH
def test_a_refusal_keeps_what_was_billed(ask, anthropic_upstream, stream):
    anthropic_upstream.script = [Answer("Half of", finish="blocked"), Blocked()]
    assert failing(ask, ProviderRefused, stream=stream).usage == Usage(input_tokens=2, output_tokens=2)
    assert failing(ask, ProviderRefused, stream=stream).usage == Usage(input_tokens=2)


@BOTH
@pytest.mark.parametrize("nothing", [Empty(), Answer(""), Answer(" \n ")], ids=["no block", "no text", "blank"])
def test_an_empty_answer_is_broken_and_may_be_asked_again(ask, anthropic_upstream, stream, nothing):
    anthropic_upstream.script = [nothing]
    error = failing(ask, ProviderBroken, stream=stream)
    assert error.retryable and error.usage == Usage(input_tokens=2)


@BOTH
def test_a_model_that_only_thought_is_told_by_its_limit_and_not_asked_again(ask, anthropic_upstream, stream):
    anthropic_upstream.script = [Answer("", finish="length", thinking=64)]
    error = failing(ask, ProviderInvalid, stream=stream, max_tokens=64)
    assert "max_tokens" in error.message and not error.retryable
    assert error.usage == Usage(input_tokens=2, output_tokens=64, reasoning_tokens=64)


@BOTH
def test_a_usage_that_cannot_be_is_none(ask, anthropic_upstream, stream):
    anthropic_upstream.script = [Answer(usage={"input_tokens": -5, "output_tokens": 10**12})]
    assert ask(stream=stream).usage == Usage()


@pytest.mark.parametrize("usage", [{"output_tokens": 9}, {"output_tokens": 9, "input_tokens": 0}])
def test_a_last_report_that_tells_less_takes_nothing_back(ask, anthropic_upstream, usage):
    class Forgetful(type(anthropic_upstream)):
        def events(self, asked, wanted):
            found = super().events(asked, wanted)
            found[-2]["usage"] = usage
            return found

    anthropic_upstream.__class__ = Forgetful
    anthropic_upstream.script = [Answer(cached=1)]
    assert ask(stream=True).usage == Usage(input_tokens=2, output_tokens=9, cached_tokens=1)


@pytest.mark.parametrize("cut", [Answer("a b c", finish=None), Answer("a b c", cut_after=5)], ids=["stops", "cut"])
def test_a_cut_stream_is_broken_and_what_it_told_of_usage_is_kept(ask, anthropic_upstream, cut):
    anthropic_upstream.script = [cut]
    assert failing(ask, ProviderBroken, stream=True).usage == Usage(input_tokens=2, output_tokens=1)


def test_asking_returns_with_the_first_words_and_not_before_nor_later(
    vendor, question, anthropic_upstream, in_thread
):
    gate = threading.Semaphore(0)
    anthropic_upstream.script = [Answer(pieces=("a", " b"), gate=gate)]
    asking = in_thread(lambda: vendor.ask(question("anthropic", stream=True)))
    for _ in range(4):  # start, ping, block, the first word
        gate.release()
    reply = asking.outcome()
    for _ in range(4):
        gate.release()
    assert [chunk.text for chunk in reply if chunk.text] == ["a", " b"]


@pytest.mark.parametrize("read", [0, 1])
def test_closing_a_reply_hangs_up_on_the_vendor(vendor, question, anthropic_upstream, read):
    anthropic_upstream.script = [Answer("a b c d", gap=0.05)]
    reply = vendor.ask(question("anthropic", stream=True, seconds=60.0))
    for _, _chunk in zip(range(read), reply, strict=False):
        pass
    reply.close()
    assert anthropic_upstream.aborted.wait(5)


@BOTH
def test_the_deadline_of_a_call_is_kept(ask, anthropic_upstream, stream):
    anthropic_upstream.script = [Hang()]
    began = time.monotonic()
    failing(ask, ProviderTimeout, stream=stream, seconds=0.2)
    assert time.monotonic() - began < 5.0  # without it, the transport's usual ten seconds would


def test_a_failed_call_asks_once_and_leaves_retrying_to_others(ask, anthropic_upstream):
    anthropic_upstream.script = [529, "Never asked for."]
    failing(ask, ProviderUnavailable)
    assert len(anthropic_upstream.asked) == 1


def test_each_call_is_asked_with_the_key_it_came_with(ask, anthropic_upstream):
    ask()
    ask(provider_key="their-key")
    keys = [asked.headers.get("x-api-key") or asked.headers["authorization"] for asked in anthropic_upstream.asked]
    assert [key.removeprefix("Bearer ") for key in keys] == ["the-key", "their-key"]


def test_what_the_environment_says_of_anthropic_changes_nothing(monkeypatch, ask, anthropic_upstream):
    for name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_URL", "ANTHROPIC_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "X-Mine: 1")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "other")
    assert ask().text == "Fine."
    assert "x-mine" not in anthropic_upstream.asked[0].headers


def test_texts_to_embed_are_refused_without_asking(ask, anthropic_upstream):
    assert "embeddings" in failing(ask, ProviderInvalid, inputs=("text",)).message
    assert anthropic_upstream.asked == []


def test_a_hundred_threads_share_one_model_without_waiting_for_each_other(
    vendor, question, anthropic_upstream, in_thread
):
    crowd = threading.Barrier(100)  # opens when all of them are being asked at the same time
    anthropic_upstream.behaviour = lambda asked: f"Fine {crowd.wait(20) * 0}"
    calls = [in_thread(lambda: vendor.ask(question("anthropic", seconds=30.0)).completion()) for _ in range(100)]
    for each in calls:
        each.join(30)
    assert {each.outcome().text for each in calls} == {"Fine 0"}
    assert anthropic_upstream.most_in_flight == 100
