"""/v1/audit."""

from marshmallow import Schema, fields, validate

from llmapi.api.schemas.fields import choice, many, string


class AuditQuery(Schema):
    limit = fields.Integer(load_default=20, validate=validate.Range(1, 100), metadata={"description": "How many"})
    after = fields.Integer(
        validate=validate.Range(1, 2**62), metadata={"description": "The number to go on after: older entries"}
    )
    actor = string("Only what this key did, by its name", 1, 128)
    action = string("Only this, e.g. `keys.create`; `keys.` is all of it", 1, 64)
    everyone = choice("`true`: entries of all tenants, which needs the scope tenants:read", ("true", "false"))


class AuditEntry(Schema):
    number = fields.Integer(required=True, metadata={"description": "From 1, without gaps over all tenants"})
    at = fields.DateTime(required=True)
    tenant = fields.String(required=True)
    actor = fields.String(required=True, metadata={"description": "The name of a key, or of a command's user"})
    action = fields.String(required=True, metadata={"example": "keys.create"})
    target = fields.String(required=True)
    request_id = fields.String(required=True)
    details = fields.Dict(required=True)
    hash = fields.String(required=True, metadata={"description": "Over this entry and the hash before it"})


class AuditList(Schema):
    data = many(fields.Nested(AuditEntry), "Newest first", 0, 100, required=True)
    next = fields.Integer(required=True, allow_none=True, metadata={"description": "Send as `after` for the next page"})
