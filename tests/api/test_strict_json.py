"""Strict JSON: what it takes, it reads as json does; what two parsers could read differently, it refuses."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmapi.api.strict_json import strict_loads
from llmapi.core.errors import JsonTooDeep, LlmApiError, MalformedJson

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=30)

HOSTILE = {
    "nothing": b"",
    "two values": b"1 2",
    "a bare word": b"nope",
    "not a number": b"[NaN]",
    "infinity": b"[-Infinity]",
    "a float beyond all": b"[1e999]",
    "an integer of 65 bits": b"[9223372036854775808]",
    "a negative one": b"[-9223372036854775809]",
    "an integer of 5000 digits": b"[" + b"9" * 5000 + b"]",
    "a key twice": b'{"a": 1, "a": 2}',
    "a key twice, escaped": b'{"a": 1, "\\u0061": 2}',
    "a key twice, deep": b'[{"b": {"a": 1, "a": 1}}]',
    "a lone surrogate": b'["\\ud800"]',
    "a NUL": b'["\\u0000"]',
    "a NUL in a key": b'{"\\u0000": 1}',
    "a raw control character": b'["\x01"]',
    "bytes that are no UTF-8": b'["\xff"]',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a comment": b"{} // hi",
    "a trailing comma": b"[1,]",
    "single quotes": b"{'a': 1}",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_refused(body):
    with pytest.raises(MalformedJson):
        strict_loads(body)


DEEP = [b"[" * 65 + b"]" * 65, b'{"a":' * 70 + b"1" + b"}" * 70, b"[" * 100_000, b"[" * 2000 + b"]" * 2000]


@pytest.mark.parametrize("body", DEEP, ids=len)
def test_too_deep_is_refused_before_it_hurts(body):
    with pytest.raises((JsonTooDeep, MalformedJson)):
        strict_loads(body)


def test_depth_64_is_taken_and_many_brackets_are_not_depth():
    assert strict_loads(b"[" * 64 + b"]" * 64) == json.loads("[" * 64 + "]" * 64)
    assert len(strict_loads(b"[" + b"[]," * 500 + b"[]]")) == 501


def test_an_escaped_backslash_before_u0000_is_no_nul():
    assert strict_loads(b'["\\\\u0000"]') == ["\\u0000"]


@given(VALUES)
def test_every_good_value_comes_through_unchanged(value):
    assert strict_loads(json.dumps(value).encode()) == value


@given(st.binary() | TEXT.map(str.encode) | VALUES.map(lambda v: json.dumps(v).encode()[:-1]))
def test_whatever_the_bytes_the_answer_is_a_value_or_a_4xx(body):
    try:
        strict_loads(body)
    except LlmApiError as error:
        assert error.status == 400
