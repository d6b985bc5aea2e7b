"""GET /v1/audit: who changed what, and who looked at what is not everybody's."""

from typing import Any

import orjson
from flask import Response
from flask.views import MethodView

from llmapi.api.context import identity, services
from llmapi.api.parsing import Blueprint
from llmapi.api.schemas.audit import AuditList, AuditQuery
from llmapi.core.clock import rfc3339
from llmapi.core.errors import Forbidden
from llmapi.events.audit_chain import Entry
from llmapi.tenants.roles import allows

bp = Blueprint("audit", __name__, url_prefix="/v1/audit", description="Who changed what")
OPERATORS = "tenants:read"


@bp.route("")
class AuditEntries(MethodView):
    @bp.arguments(AuditQuery(), location="query")
    @bp.response(200, AuditList())
    def get(self, query: dict[str, Any]) -> Response:
        """List the entries of your tenant, newest first. `flask audit verify` looks whether the chain is whole."""
        who, tenant = identity(), identity().tenant
        if query.pop("everyone", "false") == "true":
            if not allows(who.scopes, OPERATORS):
                raise Forbidden(f"this needs a key with the scope {OPERATORS}", scope=OPERATORS)
            found = services().audit.page(None, **query)
        else:
            found = services().audit.page(tenant, **query)
        body = orjson.dumps({"data": [shown(entry) for entry in found.entries], "next": found.after})
        return Response(body, mimetype="application/json", headers={"Cache-Control": "no-store"})


def shown(entry: Entry) -> dict[str, Any]:
    """Return an entry as its reader sees it."""
    told = {name: getattr(entry, name) for name in Entry.__slots__}
    return {**told, "at": rfc3339(entry.at), "details": orjson.loads(entry.details)}
