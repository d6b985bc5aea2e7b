"""An estimate is for eyes, a bound is for money."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from llmapi.core.calls import Call, Message, Target, Tool, ToolCall
from llmapi.core.lifetime import Lifetime
from llmapi.costs.tokens import bounded_input, bounded_output, estimated_input

CALL = Call("c", "t", "text", "m", (Target("p", "m"),), Lifetime(9), messages=(Message("user", "hello"),))


@given(st.text(max_size=200))
def test_the_bound_is_never_below_the_bytes_of_the_text(text):
    call = replace(CALL, messages=(Message("system", "be brief"), Message("user", text)))
    assert bounded_input(call) >= len(text.encode()) + len("be brief")
    assert bounded_input(call) >= estimated_input(call)


def test_a_schema_is_counted_since_it_is_sent_along():
    wanted = replace(CALL, schema={"type": "object", "properties": {"name": {"type": "string"}}})
    assert bounded_input(wanted) >= bounded_input(CALL) + 50
    assert estimated_input(wanted) > estimated_input(CALL)


def test_the_estimate_is_about_a_token_for_four_letters():
    prose = replace(CALL, messages=(Message("user", "word " * 800),))
    assert 950 <= estimated_input(prose) <= 1050


def test_an_answer_is_bounded_by_the_calls_limit_and_an_embedding_says_nothing():
    assert bounded_output(replace(CALL, max_tokens=77)) == 77
    embedding = replace(CALL, messages=(), inputs=("hello", "world"))
    assert (bounded_output(embedding), bounded_input(embedding) >= 10) == (0, True)


def test_tools_and_what_was_said_with_them_are_counted_since_they_are_sent_along():
    tool = Tool("weather", "Tells the weather of a city.", {"type": "object", "properties": {"city": {}}})
    wanted = replace(CALL, tools=(tool,))
    assert bounded_input(wanted) >= bounded_input(CALL) + 700  # a vendor's own words about tools alone are that many
    assert estimated_input(wanted) > estimated_input(CALL)
    called = Message("assistant", "", (ToolCall(0, "call_1", "weather", '{"city": "' + "x" * 500 + '"}'),))
    answered = Message("tool", "Rain.", (), "call_1")
    talk = replace(wanted, messages=(*CALL.messages, called, answered))
    assert bounded_input(talk) >= bounded_input(wanted) + 500
