"""/v1/batches: OpenAI's words, and a list of requests instead of a file for small ones."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from llmapi.api.schemas.fields import choice, flag, many, part, string
from llmapi.api.schemas.openai_files import ExpiresAfter
from llmapi.api.schemas.openai_responses import Labels
from llmapi.tasks.batch_doors import ENDPOINTS

STATUSES = (
    "validating",
    "failed",
    "in_progress",
    "finalizing",
    "completed",
    "expired",
    "cancelling",
    "cancelled",
)
MOMENT = {"description": "Seconds since 1970"}


class BatchLine(Schema):
    custom_id = string("Yours; it names the answer", 1, 512, required=True)
    body = fields.Dict(required=True, metadata={"description": "The request, as the endpoint takes it"})


class BatchRequest(Schema):
    endpoint = choice("Where each request goes", ENDPOINTS, required=True)
    input_file_id = string("A file of JSON lines: custom_id, method, url, body", 1, 64)
    requests = many(fields.Nested(BatchLine), "The requests themselves, instead of a file", 1, 1000)
    completion_window = choice("The time after which what is left is not asked", ("24h",), load_default="24h")
    metadata = Labels(
        allow_none=True,
        metadata={
            "type": "object",
            "additionalProperties": {"type": "string", "maxLength": 512},
            "maxProperties": 16,
            "propertyNames": {"maxLength": 64},
            "description": "Up to 16 short texts by name; they come back",
        },
    )
    output_expires_after = ExpiresAfter()

    @validates_schema
    def _one_input(self, data: dict[str, Any], **_: object) -> None:
        if ("input_file_id" in data) == ("requests" in data):
            raise ValidationError("Send either `input_file_id` or `requests`.", "input_file_id")


class BatchQuery(Schema):
    limit = fields.Integer(load_default=20, validate=validate.Range(1, 100), metadata={"description": "How many"})
    after = string("The id to go on after", 1, 64)


class BatchCounts(Schema):
    total = fields.Integer(required=True)
    completed = fields.Integer(required=True, metadata={"description": "Lines of the output file"})
    failed = fields.Integer(required=True, metadata={"description": "Lines of the error file"})


class BatchErrors(Schema):
    object = choice("Always list", ("list",), required=True)
    data = fields.List(fields.Dict(), required=True, metadata={"description": "code, message, param, line"})


class BatchObject(Schema):
    id = fields.String(required=True, metadata={"example": "batch_01kexample0000000000000000"})
    object = choice("Always batch", ("batch",), required=True)
    endpoint = choice("Where each request goes", ENDPOINTS, required=True)
    errors = part(BatchErrors, "Why it failed as a whole", required=True, allow_none=True)
    input_file_id = fields.String(required=True)
    completion_window = fields.String(required=True)
    status = choice("Where it stands", STATUSES, required=True)
    output_file_id = fields.String(required=True, allow_none=True, metadata={"description": "Answers, in input order"})
    error_file_id = fields.String(
        required=True, allow_none=True, metadata={"description": "Lines without a good answer, in input order"}
    )
    created_at = fields.Integer(required=True, metadata=MOMENT)
    expires_at = fields.Integer(required=True, metadata=MOMENT)
    in_progress_at = fields.Integer(required=True, allow_none=True, metadata=MOMENT)
    finalizing_at = fields.Integer(required=True, allow_none=True, metadata=MOMENT)
    completed_at = fields.Integer(required=True, allow_none=True, metadata=MOMENT)
    failed_at = fields.Integer(required=True, allow_none=True, metadata=MOMENT)
    expired_at = fields.Integer(required=True, allow_none=True, metadata=MOMENT)
    cancelling_at = fields.Integer(required=True, allow_none=True, metadata=MOMENT)
    cancelled_at = fields.Integer(required=True, allow_none=True, metadata=MOMENT)
    request_counts = part(BatchCounts, "How many lines", required=True)
    metadata = fields.Dict(required=True)


class BatchList(Schema):
    object = choice("Always list", ("list",), required=True)
    data = many(fields.Nested(BatchObject), "Newest first", 0, 100, required=True)
    first_id = fields.String(required=True, allow_none=True)
    last_id = fields.String(required=True, allow_none=True, metadata={"description": "Send as `after` for the rest"})
    has_more = flag("Whether there is a rest", required=True)
