"""GET /v1/models, /health and their like."""

from marshmallow import Schema, fields


class Model(Schema):
    id = fields.String(required=True, metadata={"example": "default"})
    kind = fields.String(required=True, metadata={"description": "`alias` or `model`"})
    provider = fields.String(allow_none=True)
    abilities = fields.List(fields.String())
    context = fields.Integer(allow_none=True, metadata={"description": "Tokens it takes in; 0 when unknown"})
    description = fields.String()
    available = fields.Boolean(metadata={"description": "Whether it can be asked here: its key is set"})


class ModelList(Schema):
    data = fields.List(fields.Nested(Model), required=True)


class Alive(Schema):
    status = fields.String(required=True, metadata={"example": "ok"})


class Health(Schema):
    status = fields.String(required=True, metadata={"description": "ok, degraded or down"})
    version = fields.String(required=True)
    uptime_s = fields.Float(required=True)
    dependencies = fields.Dict(
        keys=fields.String(), values=fields.Dict(), required=True, metadata={"description": "Each with its own status"}
    )
