"""/v1/keys: the API keys of one's own tenant. A key is told once, when it is made or rotated."""

from datetime import datetime
from typing import Any

from flask import Response
from flask.views import MethodView

from llmapi.api.context import identity, services
from llmapi.api.openapi import LOCATION, examples_of
from llmapi.api.parsing import Blueprint
from llmapi.api.private import as_json, never_kept
from llmapi.api.schemas.identity import Key, KeyChange, KeyList, KeyRequest, KeyShown, PageQuery, RotateRequest
from llmapi.core.clock import rfc3339
from llmapi.core.errors import Forbidden
from llmapi.tenants.key_rows import ApiKey
from llmapi.tenants.roles import allows

ACTING = "tenants:write"

bp = Blueprint("keys", __name__, url_prefix="/v1/keys", description="API keys")
never_kept(bp)


@bp.route("")
class Keys(MethodView):
    @bp.arguments(KeyRequest(), examples=examples_of("keys"))
    @bp.response(201, KeyShown(), headers=LOCATION)
    def post(self, wanted: dict[str, Any]) -> Response:
        """Make a key that may do no more than yours. The answer has the key, this once."""
        need_plan(wanted)
        row, key = services().keyring.create(identity().tenant, **wanted, maker=identity().scopes)
        return as_json(shown(row) | {"key": key}, 201, f"/v1/keys/{row.id}")

    @bp.arguments(PageQuery(), location="query")
    @bp.response(200, KeyList())
    def get(self, query: dict[str, Any]) -> Response:
        """List your tenant's keys, newest first, revoked ones too."""
        page = services().keyring.list(identity().tenant, **query)
        return as_json({"data": [shown(row) for row in page.keys], "next": page.after})


@bp.route("/<string:key_id>")
class OneKey(MethodView):
    @bp.response(200, Key())
    def get(self, key_id: str) -> Response:
        """Tell about a key, by its public id."""
        return as_json(shown(services().keyring.get(identity().tenant, key_id)))

    @bp.arguments(KeyChange(), examples=examples_of("key_changes"))
    @bp.response(200, Key())
    def patch(self, wanted: dict[str, Any], key_id: str) -> Response:
        """Change a key everywhere within five seconds; what is not named stays. Its role never changes."""
        need_plan(wanted)
        return as_json(shown(services().keyring.update(identity().tenant, key_id, wanted, maker=identity().scopes)))

    @bp.response(200, Key())
    def delete(self, key_id: str) -> Response:
        """Revoke a key, for ever: it is refused everywhere within five seconds."""
        return as_json(shown(services().keyring.revoke(identity().tenant, key_id, maker=identity().scopes)))


@bp.route("/<string:key_id>/rotate")
class Rotated(MethodView):
    @bp.arguments(RotateRequest(), examples=examples_of("key_rotations"))
    @bp.response(200, KeyShown())
    def post(self, wanted: dict[str, Any], key_id: str) -> Response:
        """Make a new secret for a key; the old one is good for a while beside it. The answer has the key, this once."""
        tenant, scopes = identity().tenant, identity().scopes
        row, key = services().keyring.rotate(tenant, key_id, wanted["overlap_s"], maker=scopes)
        return as_json(shown(row) | {"key": key})


def need_plan(wanted: dict[str, Any]) -> None:
    """Raise Forbidden for a plan that a tenant gives itself, and ValidationFailed for one that is not."""
    if "plan" in wanted:
        if not allows(identity().scopes, ACTING):
            raise Forbidden("only operators put a key under a plan", scope=ACTING)
        services().plans.need(wanted["plan"])


def shown(row: ApiKey) -> dict[str, Any]:
    """Return a key as its tenant sees it: without the key."""
    return {
        "id": row.id,
        "name": row.name,
        "role": row.role,
        "scopes": sorted(row.granted),
        "project": row.project,
        "plan": row.plan,
        "state": row.state,
        "addresses": list(row.addresses),
        "requires_signature": row.requires_signature,
        "may_name_user": row.may_name_user,
        "created": rfc3339(row.created),
        "expires": instant(row.expires),
        "previous_key_until": instant(row.previous_until),
        "last_used": instant(row.last_used),
    }


def instant(when: datetime | None) -> str | None:
    """Return an instant as it is written; None: never."""
    return rfc3339(when) if when else None
