"""/v1/webhooks."""

from marshmallow import Schema, fields, validate

from llmapi.api.schemas.fields import choice, flag, many, string

STATUSES = ("pending", "delivered", "failed", "cancelled")
EVENTS = ["job.*", "batch.completed"]
WORDS = ("not_reachable", "timeout", "tls_failed", "no_answer", "not_signed")


class WebhookRequest(Schema):
    url = string("Where to: https, on the public internet", 1, 2048, required=True, example="https://example.com/hook")
    events = many(
        string("A kind of event, `job.*` or `*`", 1, 64), "Which events", 1, 32, load_default=["*"], example=EVENTS
    )
    description = string("For you", 0, 500, load_default="")


class WebhookChange(Schema):
    url = string("Where to", 1, 2048)
    events = many(string("A kind of event, `job.*` or `*`", 1, 64), "Which events", 1, 32, example=EVENTS)
    description = string("For you", 0, 500)
    disabled = flag("true: send nothing, and cancel what waits; false: go on")


class PageQuery(Schema):
    limit = fields.Integer(load_default=20, validate=validate.Range(1, 100), metadata={"description": "How many"})
    after = string("The id to go on after", 1, 64)


class DeliveryQuery(PageQuery):
    status = choice("Only deliveries in this status", STATUSES)


class Webhook(Schema):
    id = fields.String(required=True, metadata={"example": "whe_01kexample0000000000000000"})
    url = fields.String(required=True)
    events = many(fields.String(), "Which events", 0, 32, required=True)
    description = fields.String(required=True)
    disabled = fields.String(required=True, allow_none=True, metadata={"description": "Why nothing is sent"})
    created = fields.DateTime(required=True)
    previous_secret_until = fields.DateTime(
        required=True, allow_none=True, metadata={"description": "Until when the secret before this one signs too"}
    )


class WebhookWithSecret(Webhook):
    secret = fields.String(
        required=True, metadata={"description": "Verifies what you receive; told this once", "example": "whsec_…"}
    )


class WebhookList(Schema):
    data = many(fields.Nested(Webhook), "Newest first", 0, 100, required=True)
    next = fields.String(required=True, allow_none=True, metadata={"description": "Send as `after` for the next page"})


class DeliveryAttempt(Schema):
    at = fields.DateTime(required=True)
    status_code = fields.Integer(required=True, allow_none=True, metadata={"description": "What the receiver answered"})
    error = choice("Why there was no answer", WORDS, required=True, allow_none=True)
    duration_ms = fields.Integer(required=True)


class Delivery(Schema):
    id = fields.String(required=True, metadata={"description": "The `webhook-id` the receiver sees"})
    type = fields.String(required=True, metadata={"example": "job.succeeded"})
    status = choice("Where it stands", STATUSES, required=True)
    attempts = fields.Integer(required=True, metadata={"description": "How often it was sent"})
    created = fields.DateTime(required=True)
    next_attempt = fields.DateTime(required=True, allow_none=True)
    done = fields.DateTime(required=True, allow_none=True)
    history = many(fields.Nested(DeliveryAttempt), "The latest attempts, oldest first", 0, 30, required=True)


class DeliveryList(Schema):
    data = many(fields.Nested(Delivery), "Newest first", 0, 100, required=True)
    next = fields.String(required=True, allow_none=True, metadata={"description": "Send as `after` for the next page"})
