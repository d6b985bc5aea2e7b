"""/v1/tenants: for operators, the only ones who name a tenant in an address."""

from typing import Any

from flask import Response
from flask.views import MethodView

from llmapi.api.context import identity, services
from llmapi.api.openapi import LOCATION, examples_of
from llmapi.api.parsing import Blueprint
from llmapi.api.private import as_json, never_kept
from llmapi.api.schemas.identity import Key, KeyList, KeyRequest, KeyShown, PageQuery
from llmapi.api.schemas.identity import Tenant, TenantChange, TenantList, TenantRequest
from llmapi.api.v1 import keys
from llmapi.core.clock import rfc3339
from llmapi.tenants import tenants
from llmapi.tenants.roles import ADMIN, OPERATORS_TENANT

bp = Blueprint("tenants", __name__, url_prefix="/v1/tenants", description="For operators: who has keys and a bill")
never_kept(bp)


@bp.route("")
class Tenants(MethodView):
    @bp.arguments(TenantRequest(), examples=examples_of("tenants"))
    @bp.response(201, Tenant(), headers=LOCATION)
    def post(self, wanted: dict[str, Any]) -> Response:
        """Make a tenant."""
        services().plans.need(wanted["plan"])
        tenant = services().tenants.create(**wanted)
        return as_json(shown(tenant), 201, f"/v1/tenants/{tenant.id}")

    @bp.arguments(PageQuery(), location="query")
    @bp.response(200, TenantList())
    def get(self, query: dict[str, Any]) -> Response:
        """List all tenants by id."""
        page, after = services().tenants.list(**query)
        return as_json({"data": [shown(tenant) for tenant in page], "next": after})


@bp.route("/<string:tenant_id>")
class OneTenant(MethodView):
    @bp.response(200, Tenant())
    def get(self, tenant_id: str) -> Response:
        """Tell about a tenant."""
        return as_json(shown(services().tenants.get(tenant_id)))

    @bp.arguments(TenantChange(), examples=examples_of("tenant_changes"))
    @bp.response(200, Tenant())
    def patch(self, wanted: dict[str, Any], tenant_id: str) -> Response:
        """Change a tenant everywhere within five seconds; what is not named stays. A suspended one's keys are refused.

        Neither a tenant nor what it used is ever deleted.
        """
        services().plans.need(wanted.get("plan", ""))
        return as_json(shown(services().tenants.update(tenant_id, wanted)))


@bp.route("/<string:tenant_id>/keys")
class KeysOfTenant(MethodView):
    @bp.arguments(KeyRequest(), examples=examples_of("keys"))
    @bp.response(201, KeyShown())
    def post(self, wanted: dict[str, Any], tenant_id: str) -> Response:
        """Make a key for a tenant, such as its first. The answer has the key, this once."""
        keys.need_plan(wanted)
        row, key = services().keyring.create(tenant_id, **wanted, maker=given_for(tenant_id))
        return as_json(keys.shown(row) | {"key": key}, 201)

    @bp.arguments(PageQuery(), location="query")
    @bp.response(200, KeyList())
    def get(self, query: dict[str, Any], tenant_id: str) -> Response:
        """List a tenant's keys, newest first, revoked ones too."""
        services().tenants.get(tenant_id)
        page = services().keyring.list(tenant_id, **query)
        return as_json({"data": [keys.shown(row) for row in page.keys], "next": page.after})


@bp.route("/<string:tenant_id>/keys/<string:key_id>")
class KeyOfTenant(MethodView):
    @bp.response(200, Key())
    def delete(self, tenant_id: str, key_id: str) -> Response:
        """Revoke a key of a tenant, for ever."""
        return as_json(keys.shown(services().keyring.revoke(tenant_id, key_id, maker=given_for(tenant_id))))


def given_for(tenant: str) -> frozenset[str]:
    """Return what an operator may give keys of a tenant: all an admin there may; of his own tenant no more than his."""
    own = identity().scopes
    return own if tenant == OPERATORS_TENANT else own | ADMIN


def shown(tenant: tenants.Tenant) -> dict[str, Any]:
    """Return a tenant as operators see it."""
    return {
        "id": tenant.id,
        "name": tenant.name,
        "state": tenant.state,
        "plan": tenant.plan,
        "created": rfc3339(tenant.created),
    }
