"""Two calls share a key exactly when one's answer may serve the other."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from llmapi.cache.keys import NOT_IN_KEY, cache_key
from llmapi.core.calls import CacheWish, Call, Message, Target, Tool, ToolCall
from llmapi.core.identity import Payer
from llmapi.core.lifetime import Lifetime
from llmapi.core.routing import Policy

CALL = Call(
    id="call_1",
    tenant="acme",
    task="text",
    model="default",
    targets=(Target("gemini", "flash"),),
    lifetime=Lifetime(60.0),
    messages=(Message("user", "hello"),),
)

CHANGES: dict[str, list[Any]] = {  # another value of each field that is part of the question
    "tenant": ["other"],
    "task": ["code"],
    "targets": [
        (Target("gemini", "pro"),),
        (Target("openai", "flash"),),
        (Target("gemini", "flash"), Target("openai", "mini")),
    ],
    "messages": [
        (Message("system", "hello"),),
        (Message("user", "hello "),),
        (Message("user", "hel"), Message("user", "lo")),
        (Message("user", "hello", tool_calls=(ToolCall(name="add"),)),),
        (Message("user", "hello", tool_call_id="call_1"),),
        (),
    ],
    "inputs": [("hello",), ("hel", "lo")],
    "temperature": [0.0, 1.0],
    "max_tokens": [257],
    "top_p": [0.0, 1.0],
    "stop": [("\n",), ("\n", "\n")],
    "seed": [0, 1],
    "schema": [{}, {"type": "object"}, {"const": 1}, {"const": "1"}, {"const": True}, {"const": 1.0}, {"const": None}],
    "logprobs": [1],
    "sample": [1],
    "tools": [(Tool("add"),), (Tool("add", "Adds."),), (Tool("add", parameters={"type": "object"}),)],
    "tool_choice": ["auto", "add"],
}
IRRELEVANT: dict[str, Any] = {
    "id": "call_2",
    "lifetime": Lifetime(1.0),
    "stream": True,
    "cache": CacheWish("refresh", 3.0),
    "good": lambda _: False,
    "model": "gemini-flash",
    "target": Target("gemini", "flash"),
    "policy": Policy("fast", "weighted"),
    "provider_key": "sk-of-the-caller",
    "again": True,
    "sending": lambda: None,
    "refused": lambda _: None,
    "payer": Payer("web", "ak_1", "u1"),
    "batch": True,
    "entry": "entry_1",
    "priority": 0,
}


def test_each_field_of_a_call_is_part_of_the_key_or_said_not_to_be() -> None:
    names = {field.name for field in fields(Call)}
    assert NOT_IN_KEY == set(IRRELEVANT)
    assert names == set(CHANGES) | set(IRRELEVANT), "a new field of Call: does it change the answer? (cache/keys.py)"


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_what_changes_the_answer_changes_the_key(name: str) -> None:
    keys = [cache_key(CALL)] + [cache_key(replace(CALL, **{name: value})) for value in CHANGES[name]]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", sorted(IRRELEVANT))
def test_what_does_not_change_the_answer_does_not_change_the_key(name: str) -> None:
    assert cache_key(replace(CALL, **{name: IRRELEVANT[name]})) == cache_key(CALL)


def test_a_key_starts_with_its_tenant() -> None:
    assert cache_key(CALL).startswith("acme:")


def test_what_a_target_can_do_and_how_a_schema_was_written_down_make_no_other_question() -> None:
    able = replace(CALL, targets=(Target("gemini", "flash", frozenset({"json"}), 1000),))
    assert cache_key(able) == cache_key(CALL)
    one, two = ({"a": {"x": 1, "y": 2}, "b": 3}, {"b": 3, "a": {"y": 2, "x": 1}})
    assert cache_key(replace(CALL, schema=one)) == cache_key(replace(CALL, schema=two))


TEXTS = st.text(max_size=8)
MESSAGES = st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), TEXTS), max_size=3).map(tuple)
CALLS = st.builds(
    lambda **said: replace(CALL, **said),
    tenant=st.sampled_from(["a", "b"]),
    messages=MESSAGES,
    inputs=st.lists(TEXTS, max_size=2).map(tuple),
    stop=st.lists(TEXTS, max_size=2).map(tuple),
    temperature=st.none() | st.floats(0, 2),
    max_tokens=st.integers(1, 9),
    schema=st.none() | st.dictionaries(TEXTS, st.integers(0, 2) | TEXTS | st.booleans() | st.none(), max_size=2),
    logprobs=st.integers(0, 2),
)


def question(call: Call) -> str:
    """Return the call's question in Python's own unambiguous writing."""
    schema = None if call.schema is None else sorted((key, repr(value)) for key, value in call.schema.items())
    return repr([(name, getattr(call, name)) for name in sorted(CHANGES) if name != "schema"] + [schema])


@given(CALLS, CALLS)
def test_different_questions_never_share_a_key(one: Call, two: Call) -> None:
    assume(question(one) != question(two))
    assert cache_key(one) != cache_key(two)


@given(CALLS)
def test_the_same_question_always_has_the_same_key(call: Call) -> None:
    again = replace(call, id="call_9", messages=tuple(Message(said.role, said.text) for said in call.messages))
    assert cache_key(again) == cache_key(call)
