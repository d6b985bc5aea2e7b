"""/v1/webhooks: where to tell what happened, and how that went (Standard Webhooks)."""

from typing import Any

import orjson
from flask import Response
from flask.views import MethodView

from llmapi.api.context import identity, services
from llmapi.api.openapi import LOCATION, examples_of
from llmapi.api.parsing import Blueprint
from llmapi.api.schemas.webhooks import Delivery, DeliveryList, DeliveryQuery, PageQuery
from llmapi.api.schemas.webhooks import Webhook, WebhookChange, WebhookList, WebhookRequest, WebhookWithSecret
from llmapi.core.clock import rfc3339
from llmapi.events.webhook_endpoints import Endpoint
from llmapi.events.webhook_outbox import Message

bp = Blueprint("webhooks", __name__, url_prefix="/v1/webhooks", description="Being told what happened")


@bp.route("")
class Webhooks(MethodView):
    @bp.arguments(WebhookRequest(), examples=examples_of("webhooks"))
    @bp.response(201, WebhookWithSecret(), headers=LOCATION)
    def post(self, wanted: dict[str, Any]) -> Response:
        """Have events sent to an address. The answer has the secret that verifies them, this once."""
        endpoint, secret = services().webhooks.endpoints.create(identity().tenant, **wanted)
        return as_json(shown(endpoint) | {"secret": secret}, 201, {"Location": f"/v1/webhooks/{endpoint.id}"})

    @bp.arguments(PageQuery(), location="query")
    @bp.response(200, WebhookList())
    def get(self, query: dict[str, Any]) -> Response:
        """List your webhooks, newest first."""
        page = services().webhooks.endpoints.list(identity().tenant, **query)
        return as_json({"data": [shown(endpoint) for endpoint in page.endpoints], "next": page.after})


@bp.route("/<string:webhook_id>")
class OneWebhook(MethodView):
    @bp.response(200, Webhook())
    def get(self, webhook_id: str) -> Response:
        """Tell about a webhook."""
        return as_json(shown(services().webhooks.endpoints.get(webhook_id, identity().tenant)))

    @bp.arguments(WebhookChange(), examples=examples_of("webhook_changes"))
    @bp.response(200, Webhook())
    def patch(self, wanted: dict[str, Any], webhook_id: str) -> Response:
        """Change a webhook; what is not named stays."""
        return as_json(shown(services().webhooks.endpoints.change(webhook_id, identity().tenant, **wanted)))

    @bp.response(204)
    def delete(self, webhook_id: str) -> Response:
        """Delete a webhook; what waits for it is not sent."""
        services().webhooks.endpoints.delete(webhook_id, identity().tenant)
        return Response(status=204)


@bp.route("/<string:webhook_id>/rotate-secret")
class RotatedSecret(MethodView):
    @bp.response(200, WebhookWithSecret())
    def post(self, webhook_id: str) -> Response:
        """Make a new secret. For a day everything is signed with the old one too."""
        endpoint, secret = services().webhooks.endpoints.rotate(webhook_id, identity().tenant)
        return as_json(shown(endpoint) | {"secret": secret})


@bp.route("/<string:webhook_id>/test")
class Test(MethodView):
    @bp.response(202, Delivery())
    def post(self, webhook_id: str) -> Response:
        """Send a `webhook.test` event."""
        return as_json(delivery(services().webhooks.outbox.test(webhook_id, identity().tenant)), 202)


@bp.route("/<string:webhook_id>/deliveries")
class Deliveries(MethodView):
    @bp.arguments(DeliveryQuery(), location="query")
    @bp.response(200, DeliveryList())
    def get(self, query: dict[str, Any], webhook_id: str) -> Response:
        """List what was and will be sent, newest first, with each attempt."""
        known = services().webhooks
        endpoint = known.endpoints.get(webhook_id, identity().tenant)
        page = known.outbox.list(endpoint.id, endpoint.tenant, **query)
        return as_json({"data": [delivery(message) for message in page.messages], "next": page.after})


@bp.route("/<string:webhook_id>/deliveries/<string:delivery_id>/redeliver")
class Redelivery(MethodView):
    @bp.response(202, Delivery())
    def post(self, webhook_id: str, delivery_id: str) -> Response:
        """Send a delivery again, under the same `webhook-id`."""
        message = services().webhooks.outbox.redeliver(delivery_id, webhook_id, identity().tenant)
        return as_json(delivery(message), 202)


def shown(endpoint: Endpoint) -> dict[str, Any]:
    """Return an endpoint as its owner sees it: without its secrets."""
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "events": list(endpoint.events),
        "description": endpoint.description,
        "disabled": endpoint.disabled,
        "created": rfc3339(endpoint.created),
        "previous_secret_until": rfc3339(endpoint.previous_until) if endpoint.previous_until else None,
    }


def delivery(message: Message) -> dict[str, Any]:
    """Return a message as its owner sees it."""
    return {
        "id": message.id,
        "type": message.kind,
        "status": message.status,
        "attempts": message.attempts,
        "created": rfc3339(message.created),
        "next_attempt": rfc3339(message.next_at) if message.status == "pending" else None,
        "done": rfc3339(message.done) if message.done else None,
        "history": [
            {
                "at": rfc3339(attempt.at),
                "status_code": attempt.status,
                "error": attempt.error,
                "duration_ms": attempt.milliseconds,
            }
            for attempt in message.history
        ],
    }


def as_json(told: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON answer that no cache keeps."""
    return Response(
        orjson.dumps(told), status, {"Cache-Control": "no-store", **(headers or {})}, mimetype="application/json"
    )
