"""/v1/streams and the field of streamed requests."""

from marshmallow import Schema, fields, validate

from llmapi.api.schemas.fields import choice


class StreamQuery(Schema):
    starting_after = fields.Integer(
        validate=validate.Range(0, 2**31 - 1),
        metadata={"description": "Number of the last event you have; the header Last-Event-ID says the same and wins"},
    )


def when_left() -> fields.String:
    """Return the field that says what becomes of a stream nobody reads."""
    said = "A stream whose reader is gone: `cancel` it, or `finish` it for who comes back to /v1/streams/{id}"
    return choice(said, ("cancel", "finish"))
