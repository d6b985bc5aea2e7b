"""A record comes back from its bytes as it was, or not at all."""

import math
import zlib
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from llmapi.cache.record import FORM, HEAD, VERSION, Record, Source, pack, recorded, unpack
from llmapi.core.calls import Completion, TokenLogprobs, ToolCall, Usage
from llmapi.core.kept import About

FLOATS = st.floats(allow_nan=False, width=32) | st.floats(allow_nan=False)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
LOGS = st.floats(-50, 0) | st.just(-math.inf)
ANSWERS = st.builds(
    Completion,
    TEXTS | st.just("long " * 1000),
    st.builds(Usage, *[st.integers(0, 10**6)] * 4),
    st.sampled_from(["stop", "length", "tool_calls", "other"]),
    st.lists(st.builds(TokenLogprobs, TEXTS, LOGS, st.lists(st.tuples(TEXTS, LOGS), max_size=2).map(tuple))).map(tuple),
    st.lists(st.lists(FLOATS, max_size=4).map(tuple), max_size=3).map(tuple),
    st.lists(st.builds(ToolCall, st.integers(0, 9), TEXTS, TEXTS, TEXTS), max_size=2).map(tuple),
)
ABOUT = st.builds(About, TEXTS, TEXTS, st.lists(TEXTS, max_size=3).map(tuple), st.none() | st.integers(0, 2**60))


def a_record(text: str = "Spam.", **said: Any) -> Record:
    about = About("acme", "text", ("v1",), 7)
    return recorded(Completion(text, **said), Source("gemini", "flash"), about, created=1000.0, ttl=60.0)


@given(ANSWERS, ABOUT)
def test_a_record_comes_back_as_it_was(answer: Completion, about: About) -> None:
    made = recorded(answer, Source("gemini", "flash"), about, created=1e9, ttl=3600.0)
    assert unpack(pack(made)) == made


def test_a_long_answer_takes_little_room_and_a_short_one_is_left_alone() -> None:
    assert len(pack(a_record("the same words again and again. " * 200))) < 500
    assert b"Spam." in pack(a_record())


def test_a_vector_of_narrow_floats_takes_four_bytes_a_number() -> None:
    narrow = tuple(number / 1024 for number in range(1536))
    assert len(pack(a_record("", vectors=(narrow,)))) < 4 * 1536 + 500


def test_another_version_is_a_miss() -> None:
    packed = pack(a_record())
    assert unpack(bytes([packed[0] + 1]) + packed[1:]) is None


@given(st.data())
def test_damaged_bytes_are_a_miss(data: st.DataObject) -> None:
    packed = bytearray(pack(a_record("x" * data.draw(st.sampled_from([5, 5000])))))
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] ^= data.draw(st.integers(1, 255))
    assert unpack(bytes(packed)) is None
    assert unpack(bytes(packed[:place])) is None


def sealed(body: bytes) -> bytes:
    """Return a body that is not damaged, whatever it says."""
    body = FORM.pack(0, len(body)) + body
    return HEAD.pack(VERSION, zlib.crc32(body)) + body


@given(st.binary(max_size=60))
def test_anything_else_is_a_miss(noise: bytes) -> None:
    assert unpack(noise) is None
    assert unpack(sealed(noise)) is None


def test_another_shape_under_a_right_sum_is_a_miss() -> None:
    for body in (orjson.dumps([[], [], [], []]), orjson.dumps({"text": "x"}), b"null"):
        assert unpack(sealed(body)) is None
