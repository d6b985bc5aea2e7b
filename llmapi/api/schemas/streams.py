"""/v1/streams, the field of streamed requests, and what is said over a WebSocket."""

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from llmapi.api.schemas.fields import choice, flag, string


class StreamQuery(Schema):
    starting_after = fields.Integer(
        validate=validate.Range(0, 2**31 - 1),
        metadata={"description": "Number of the last event you have; the header Last-Event-ID says the same and wins"},
    )


def when_left() -> fields.String:
    """Return the field that says what becomes of a stream nobody reads."""
    said = "A stream whose reader is gone: `cancel` it, or `finish` it for who comes back to /v1/streams/{id}"
    return choice(said, ("cancel", "finish"))


class Generate(Schema):
    type = choice("A call", ("generate",), required=True)
    id = string("Yours; every answer to this call carries it", 1, 64, required=True)
    task = choice("Which task", ("text", "code", "chat", "classify"), required=True)
    request = fields.Dict(required=True, metadata={"description": "The request, as the task's own route takes it"})
    stream = flag("Send chunks as they come", load_default=False)


class Cancel(Schema):
    type = choice("End a call", ("cancel",), required=True)
    id = string("The call's", 1, 64, required=True)


class Subscribe(Schema):
    type = choice("Be told of events, or no more", ("subscribe", "unsubscribe"), required=True)
    id = string("Yours", 1, 64)
    topic = choice("What of", ("job", "usage"), required=True)
    job_id = string("Which job", 1, 64)

    @validates_schema
    def _which_job(self, data: dict[str, object], **_: object) -> None:
        if ("job_id" in data) != (data["topic"] == "job"):
            raise ValidationError("Send it with the topic `job`, and only then.", "job_id")


class Ping(Schema):
    type = choice("Answered by `pong`", ("ping",), required=True)
    id = string("Yours", 1, 64)


class TicketAnswer(Schema):
    ticket = fields.String(required=True, metadata={"description": "Open /v1/ws?ticket=… with it, once"})
    expires_in = fields.Integer(required=True, metadata={"description": "Seconds", "example": 30})
