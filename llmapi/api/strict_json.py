"""JSON as strict as a stranger's body deserves: what two parsers could read differently is refused.

Depth <= 64, integers <= 64 bit, finite floats, no duplicate keys, no lone surrogates, no NUL, UTF-8 only
(the pitfalls are those of RFC 8259 and of Nicolas Seriot's "Parsing JSON is a Minefield").
"""

import json
import math
from collections.abc import Iterator
from typing import Any

import orjson

from llmapi.core.errors import JsonTooDeep, MalformedJson

MAX_DEPTH = 64
MAX_INT = 2**63 - 1
MIN_INT = -(2**63)


def strict_loads(body: bytes) -> Any:
    """Return the value of a JSON text; raises MalformedJson or JsonTooDeep, whatever the bytes are."""
    try:
        value = orjson.loads(body)  # settles grammar, UTF-8, surrogates and NaN at C speed
    except orjson.JSONDecodeError as error:
        if "recursion" in error.msg.lower():
            raise JsonTooDeep(f"more than {MAX_DEPTH} levels") from None
        raise MalformedJson(f"line {error.lineno} column {error.colno}: {error.msg.split(':')[0]}") from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and deeper_than(value, MAX_DEPTH):
        raise JsonTooDeep(f"more than {MAX_DEPTH} levels")
    value = json.loads(body, object_pairs_hook=_unique, parse_int=_integer, parse_float=_number)
    if b"\\u0000" in body and any("\0" in text for text in texts_in(value)):
        raise MalformedJson("a string holds the character U+0000")
    return value


def deeper_than(value: Any, depth: int) -> bool:
    """Say whether a value nests more than `depth` levels; walks level by level, so no input exhausts the stack."""
    level = [value]
    for _ in range(depth):
        level = [child for each in level for child in children_of(each)]
    return any(isinstance(each, dict | list) for each in level)


def children_of(value: Any) -> Iterator[Any]:
    """Yield the values inside a list or an object."""
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def texts_in(value: Any) -> Iterator[str]:
    """Yield every string of a value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
    for child in children_of(value):
        yield from texts_in(child)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedJson("an object names a key twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) > 20 or not MIN_INT <= int(digits) <= MAX_INT:
        raise MalformedJson("an integer needs more than 64 bits")
    return int(digits)


def _number(digits: str) -> float:
    if not math.isfinite(number := float(digits)):
        raise MalformedJson("a number is too large")
    return number
