"""The JSON value inside a model's answer: the whole text, or in a code fence, or between sentences."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from llmapi.core.errors import UnreadableAnswer
from llmapi.tasks.fences import Block, segments_of

OPENING = re.compile(r"[\[{]")
# A string runs to its closing quote or to the end of the text, so that no text makes the search start over.
BRACKETS = re.compile(r'"(?:[^"\\]|\\.?)*"?|[\[\]{}]', re.DOTALL)


def read_json(text: str, complaint: Callable[[Any], str | None]) -> Any:
    """Return the one JSON value of an answer that gives no cause for complaint.

    Strict JSON (no NaN, no lone surrogates). A value is taken from a fence or from between sentences only when the text
    is not JSON as a whole, and only whole: what is inside a broken or cut value is never taken for the answer.
    raises: UnreadableAnswer, also when several different values would do
    """
    values = list(_values(text))
    if not values:
        raise UnreadableAnswer("The answer is not JSON.", said=text[:80])
    complaints = [complaint(value) for value in values]
    good = [value for value, wrong in zip(values, complaints, strict=True) if wrong is None]
    if not good:
        raise UnreadableAnswer(f"The answer does not follow the schema: {complaints[0]}", said=text[:80])
    if len({orjson.dumps(value, option=orjson.OPT_SORT_KEYS) for value in good}) > 1:
        raise UnreadableAnswer("The answer holds several different JSON values.", said=text[:80])
    return good[0]


def _values(text: str) -> Iterator[Any]:
    """Yield the values of the first place that has any."""
    for place in ([text], _fenced(text), _embedded(text)):
        values = [value for candidate in place for value in _parsed(candidate)]
        if values:
            yield from values
            return


def _parsed(text: str) -> Iterator[Any]:
    """Yield the value, if the text is strict JSON that can also be written again."""
    try:
        value = orjson.loads(text.strip("\ufeff \t\r\n"))
        orjson.dumps(value)  # it writes less deep nesting than it reads
    except (orjson.JSONDecodeError, TypeError):
        return
    yield value


def _fenced(text: str) -> Iterator[str]:
    return (part.text for part in segments_of(text) if isinstance(part, Block) and part.closed)


def _embedded(text: str) -> Iterator[str]:
    """Yield each bracketed stretch, outermost brackets only, up to one that never closes."""
    start = OPENING.search(text)
    while start is not None:
        end = _end_of(text, start.start())
        if end is None:
            return
        yield text[start.start() : end]
        start = OPENING.search(text, end)


def _end_of(text: str, start: int) -> int | None:
    depth = 0
    for found in BRACKETS.finditer(text, start):
        if found[0] in ("{", "["):
            depth += 1
        elif found[0] in ("}", "]"):
            depth -= 1
            if depth == 0:
                return found.end()
    return None
