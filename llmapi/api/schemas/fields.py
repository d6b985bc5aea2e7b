"""Fields that take what they say and nothing near it: no "1" for 1, no 1.5 cut to 1, no "yes" for true."""

import math
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate


class Number(fields.Float):
    """A finite JSON number; not a string, not a boolean."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValidationError("Not a valid number.")
        return float(value)


class Whole(fields.Integer):
    """A JSON integer; not 1.0, not a string, not a boolean."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValidationError("Not a valid integer.")
        return value


class Flag(fields.Boolean):
    """true or false."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("Not a valid boolean.")
        return value


def string(meaning: str, shortest: int = 0, longest: int = 200_000, **more: Any) -> fields.String:
    """Return a string field with bounds; `example` goes to the docs."""
    return fields.String(validate=validate.Length(shortest, longest), metadata=_told(meaning, more), **more)


def number(meaning: str, low: float, high: float, **more: Any) -> Number:
    """Return a number field with bounds."""
    return Number(validate=validate.Range(low, high), metadata=_told(meaning, more), **more)


def whole(meaning: str, low: int, high: int, **more: Any) -> Whole:
    """Return an integer field with bounds."""
    return Whole(validate=validate.Range(low, high), metadata=_told(meaning, more), **more)


def flag(meaning: str, **more: Any) -> Flag:
    """Return a boolean field."""
    return Flag(metadata=_told(meaning, more), **more)


def choice(meaning: str, of: tuple[str, ...], **more: Any) -> fields.String:
    """Return a field that takes one of a few words."""
    return fields.String(validate=validate.OneOf(of), metadata=_told(meaning, more), **more)


def many(inner: fields.Field[Any], meaning: str, fewest: int, most: int, **more: Any) -> fields.List[Any]:
    """Return a list field with a bounded number of items."""
    return fields.List(inner, validate=validate.Length(fewest, most), metadata=_told(meaning, more), **more)


def part(schema: type[Schema], meaning: str, **more: Any) -> fields.Nested:
    """Return an object field."""
    return fields.Nested(schema, metadata=_told(meaning, more), **more)


def _told(meaning: str, more: dict[str, Any]) -> dict[str, Any]:
    told = {"description": meaning}
    return told | {"example": more.pop("example")} if "example" in more else told
