"""GET /v1/me: who am I, for whoever holds a key."""

from flask import Response
from flask.views import MethodView

from llmapi.api.context import identity
from llmapi.api.parsing import Blueprint
from llmapi.api.private import as_json, never_kept
from llmapi.api.schemas.identity import Me

bp = Blueprint("me", __name__, url_prefix="/v1/me", description="Who you are here")
never_kept(bp)


@bp.route("")
class WhoAmI(MethodView):
    @bp.response(200, Me())
    def get(self) -> Response:
        """Tell whose key this is and what it may do; any key may ask, also one without scopes."""
        known = identity()
        told = {
            "tenant": known.tenant,
            "project": known.payer.project,
            "key": known.payer.key,
            "user": known.payer.user,
            "role": known.role,
            "scopes": sorted(known.scopes),
            "plan": known.plan,
        }
        return as_json(told)
