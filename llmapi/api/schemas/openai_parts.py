"""The pieces that requests in OpenAI's newer shapes have in common: content as a text or as a list of parts."""

from collections.abc import Collection, Mapping
from typing import Any

import orjson
from marshmallow import ValidationError

SAID = frozenset({"input_text", "output_text", "text"})  # parts that hold a `text`
MOST_PARTS = 1000
Json = dict[str, Any]


def text_of(content: Any, also: Collection[str] = ()) -> str:
    """Return the text of a content; raises ValidationError, by the place of the part that holds none.

    also: further parts that can be said in words: `input_json`, `refusal`
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or len(content) > MOST_PARTS:
        raise ValidationError(f"Send a string or a list of at most {MOST_PARTS} parts.")
    texts = []
    for number, part in enumerate(content):
        try:
            texts.append(part_text(part, also))
        except ValidationError as error:
            raise ValidationError({number: error.messages}) from None
    return "\n".join(texts)


def part_text(part: Any, also: Collection[str] = ()) -> str:
    """Return the text of one part; raises ValidationError."""
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(kind, str):
        raise ValidationError("Send parts with a `type`.")
    if kind in SAID:
        said = part.get("text")
    elif kind == "refusal" and kind in also:
        said = part.get("refusal")
    elif kind == "input_json" and kind in also:
        data = part.get("data")
        said = orjson.dumps(data).decode() if isinstance(data, dict | list) else None
    else:
        raise ValidationError("Only text is taken here.")
    if not isinstance(said, str):
        raise ValidationError(f"This part of type {kind} holds nothing that can be read.")
    return said


def word(item: Mapping[str, Any], name: str, longest: int = 1_000_000) -> str:
    """Return a field that must be a text; raises ValidationError naming it."""
    value = item.get(name)
    if not isinstance(value, str) or not value or len(value) > longest:
        raise ValidationError({name: [f"Send a string of 1 to {longest} characters."]})
    return value
