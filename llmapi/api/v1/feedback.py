"""POST /v1/feedback: whether an answer was right."""

from typing import Any

from flask import Response
from flask.views import MethodView

from llmapi.api.context import identity, services
from llmapi.api.openapi import examples_of
from llmapi.api.parsing import Blueprint
from llmapi.api.private import as_json, never_kept
from llmapi.api.schemas.cache import FeedbackRequest, FeedbackTaken
from llmapi.core.clock import utc_now
from llmapi.core.errors import NotFound
from llmapi.core.kept import Mark
from llmapi.costs.answered import questions_of

bp = Blueprint("feedback", __name__, url_prefix="/v1/feedback", description="What is kept, and what that saves")
never_kept(bp)
ENTRY = "kept_"  # what ids of entries by meaning begin with


@bp.route("")
class Feedback(MethodView):
    @bp.arguments(FeedbackRequest(), examples=examples_of("feedback"))
    @bp.response(200, FeedbackTaken())
    def post(self, wanted: dict[str, Any]) -> Response:
        """Say whether an answer was right: the cache by meaning learns from it. With `evict` it is served no more.

        An answer that was served by meaning names its entry in `cache.entry`: only feedback on that teaches, and only
        it evicts. The id of any other answer can be named to evict what is kept of it, a moment after it was given.
        """
        tenant, id, evict = identity().tenant, wanted["id"], wanted["evict"]
        meant = id.startswith(ENTRY)  # for others the cache by meaning is not even loaded
        learned = meant and services().semantic.feedback(id, wanted["good"], evict, tenant=tenant)
        evicted = evict and (learned or forget(tenant, id))
        if not learned and not evicted and not questions_of(services().engine, tenant, id):
            raise NotFound("There is no such answer.")
        return as_json({"id": id, "learned": learned, "evicted": evicted})


def forget(tenant: str, id: str) -> bool:
    """Serve no more what is kept of an answer, named by its key or by its request; says whether there is one."""
    house = services()
    keys = [f"{tenant}:{digest}" for digest in questions_of(house.engine, tenant, id) if digest]
    if id.rpartition(":")[0] == tenant and house.cache.get(id, stale=True) is not None:
        keys.append(id)
    house.marks.add([Mark(tenant, "key", key, utc_now().timestamp()) for key in keys])
    house.cache.drop(keys)
    return bool(keys)
