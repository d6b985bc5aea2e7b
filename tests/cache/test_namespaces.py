"""Namespaces: what may be compared, and that nothing else ever is."""

from dataclasses import replace

import pytest

from llmapi.cache.namespaces import asked_of
from llmapi.core.calls import Message, Target, Tool
from tests.gateway.conftest import a_call

SAID = (Message("system", "Be brief."), Message("user", "Name a river"))
CALL = a_call(messages=SAID)


def test_only_the_last_thing_said_may_differ():
    one, other = asked_of(CALL), asked_of(replace(CALL, messages=(SAID[0], Message("user", "Name a lake"))))
    assert one.space == other.space and (one.text, other.text) == ("Name a river", "Name a lake")
    assert one.space.startswith(f"{CALL.tenant}:")


@pytest.mark.parametrize(
    "other",
    [
        {"tenant": "other"},
        {"task": "chat"},
        {"targets": (Target("p", "other"),)},
        {"temperature": 0.1},
        {"max_tokens": 7},
        {"top_p": 0.5},
        {"stop": ("x",)},
        {"seed": 3},
        {"schema": {"type": "object"}},
        {"sample": 1},
        {"tools": (Tool("f"),)},
        {"messages": (Message("system", "Be long."), SAID[1])},
        {"messages": SAID[1:]},
        {"messages": (SAID[0], Message("user", "Hi"), Message("assistant", "Hello"), SAID[1])},
    ],
)
def test_nothing_is_shared_where_anything_else_differs(other):
    assert asked_of(replace(CALL, **other)).space != asked_of(CALL).space


def test_a_turn_that_is_not_the_users_is_not_compared():
    assert asked_of(replace(CALL, messages=(*SAID, Message("assistant", "The Nile")))) is None
    assert asked_of(replace(CALL, messages=())) is None


def code(task, language="python", context=""):
    text = f"Language: {language}\n\nTask:\n{task}" + (f"\n\nUse this context:\n```\n{context}\n```" if context else "")
    return asked_of(replace(CALL, task="code", messages=(SAID[0], Message("user", text))))


def test_codes_language_and_context_belong_to_the_namespace():
    assert code("sort a list").text == "sort a list"
    assert code("sort a list").space == code("reverse a list").space
    assert len({code("sort", "python").space, code("sort", "go").space, code("sort", context="x").space}) == 3


def labelled(text, mark="text"):
    messages = (SAID[0], Message("user", f"<{mark}>\n{text}\n</{mark}>"))
    return asked_of(replace(CALL, task="classify", messages=messages))


def test_what_is_classified_is_compared_without_the_marks_around_it():
    assert labelled("I love it").text == "I love it"
    assert labelled("I love it").space == labelled("I hate it").space != labelled("I love it", "text1").space
