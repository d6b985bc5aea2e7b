"""/v1/files: OpenAI's words."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from llmapi.api.schemas.fields import choice, flag, many, string

SHORTEST_KEPT, LONGEST_KEPT = 3600, 2_592_000  # seconds
PURPOSES = ("batch", "batch_output")
# A form, which marshmallow does not describe.
UPLOAD: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    "file": {"type": "string", "format": "binary", "description": "JSON lines"},
                    "purpose": {"type": "string", "enum": ["batch"]},
                    "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
                    "expires_after[seconds]": {"type": "string", "pattern": "^[1-9][0-9]{3,6}$"},
                },
                "required": ["file", "purpose"],
            }
        }
    },
}


class ExpiresAfter(fields.Raw):
    """When files are deleted: {"anchor": "created_at", "seconds": 3600 to 2592000}; loads to the seconds."""

    def __init__(self, **more: Any) -> None:
        told = {
            "type": "object",
            "properties": {
                "anchor": {"type": "string", "enum": ["created_at"]},
                "seconds": {"type": "integer", "minimum": SHORTEST_KEPT, "maximum": LONGEST_KEPT},
            },
            "required": ["anchor", "seconds"],
            "additionalProperties": False,
        }
        super().__init__(metadata={"description": "When files are deleted; left out: after 30 days", **told}, **more)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> float:
        if not isinstance(value, dict) or set(value) != {"anchor", "seconds"} or value["anchor"] != "created_at":
            raise ValidationError('Must be {"anchor": "created_at", "seconds": …}.')
        seconds = value["seconds"]
        if not isinstance(seconds, int) or isinstance(seconds, bool) or not SHORTEST_KEPT <= seconds <= LONGEST_KEPT:
            raise ValidationError(f"seconds must be {SHORTEST_KEPT} to {LONGEST_KEPT}.")
        return float(seconds)


class FileQuery(Schema):
    purpose = choice("Only files of this purpose", PURPOSES)
    limit = fields.Integer(load_default=1000, validate=validate.Range(1, 10_000), metadata={"description": "How many"})
    after = string("The id to go on after", 1, 64)
    order = choice("By age: newest first, or oldest first", ("asc", "desc"), load_default="desc")


class FileObject(Schema):
    id = fields.String(required=True, metadata={"example": "file_01kexample0000000000000000"})
    object = choice("Always file", ("file",), required=True)
    bytes = fields.Integer(required=True)
    created_at = fields.Integer(required=True, metadata={"description": "Seconds since 1970"})
    expires_at = fields.Integer(required=True, metadata={"description": "Seconds since 1970; then it is deleted"})
    filename = fields.String(required=True)
    purpose = choice("What it is for", PURPOSES, required=True)
    status = choice("Always processed", ("processed",), required=True)
    status_details = fields.String(required=True, allow_none=True)


class FileList(Schema):
    object = choice("Always list", ("list",), required=True)
    data = many(fields.Nested(FileObject), "By age", 0, 10_000, required=True)
    first_id = fields.String(required=True, allow_none=True)
    last_id = fields.String(required=True, allow_none=True, metadata={"description": "Send as `after` for the rest"})
    has_more = flag("Whether there is a rest", required=True)


class FileDeleted(Schema):
    id = fields.String(required=True)
    object = choice("Always file", ("file",), required=True)
    deleted = flag("Always true", required=True)
