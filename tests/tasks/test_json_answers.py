"""JSON inside an answer: found in fences and between sentences, never made out of a broken value."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmapi.core.errors import UnreadableAnswer
from llmapi.tasks.json_answers import read_json

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
TALK = st.text("abc XYZ.,:'!?é\n", max_size=40)


def fine(value):
    return None


def needs_age(value):
    return None if isinstance(value, dict) and "age" in value else "no age"


@settings(deadline=None)
@given(VALUES)
def test_json_alone_is_read_as_it_was_written(value):
    assert read_json(f"\n {json.dumps(value)}\n", fine) == value


@settings(deadline=None)
@given(st.dictionaries(st.text("ab"), VALUES, min_size=1, max_size=3), TALK, TALK)
def test_an_object_is_found_between_sentences(value, before, after):
    assert read_json(f"{before}{json.dumps(value)}{after}", fine) == value


@settings(deadline=None)
@given(st.dictionaries(st.text("ab"), VALUES, min_size=1, max_size=3), TALK, TALK)
def test_an_object_is_found_in_a_fence(value, before, after):
    assert read_json(f"{before}\n```json\n{json.dumps(value, indent=1)}\n```\n{after}", fine) == value


@settings(deadline=None)
@given(st.text())
def test_no_text_does_anything_but_give_a_value_or_be_unreadable(text):
    try:
        json.dumps(read_json(text, fine), allow_nan=False)
    except UnreadableAnswer as error:
        assert error.details["said"] == text[:80]


@pytest.mark.parametrize(
    "text", ["NaN", '{"a": Infinity}', '"\\ud800"', "1e999", "{'a': 1}", '{"a": 1,}', "[" * 5000 + "]" * 5000]
)
def test_what_is_not_strict_json_is_unreadable(text):
    with pytest.raises(UnreadableAnswer):
        read_json(text, fine)


def test_nothing_is_taken_from_inside_a_cut_value():
    with pytest.raises(UnreadableAnswer):
        read_json('[{"age": 1}, {"age": 2', needs_age)


def test_a_bracket_in_a_string_closes_nothing():
    assert read_json('So: {"age": "}{"} there', needs_age) == {"age": "}{"}


def test_brackets_in_the_talk_do_no_harm():
    assert read_json('As asked [here]: {"age": 1}', needs_age) == {"age": 1}


def test_of_several_values_the_one_that_fits_is_taken():
    assert read_json('{"name": "a"} and {"age": 1}', needs_age) == {"age": 1}


def test_two_different_values_that_fit_are_unreadable():
    with pytest.raises(UnreadableAnswer, match="several"):
        read_json('{"age": 1} or {"age": 2}', needs_age)
    assert read_json('{"age": 1} again {"age": 1}', needs_age) == {"age": 1}


def test_what_is_wrong_is_said():
    with pytest.raises(UnreadableAnswer, match="no age"):
        read_json('{"name": "a"}', needs_age)


def test_a_hostile_text_is_read_in_linear_time():
    with pytest.raises(UnreadableAnswer):
        read_json('["' + '\\"' * 100_000 + "[" * 100_000, fine)
