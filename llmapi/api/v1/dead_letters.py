"""/v1/jobs/dead-letters: jobs that were given up, to be tried again or thrown away."""

from typing import Any

from flask import Response
from flask.views import MethodView

from llmapi.api.context import identity, services
from llmapi.api.job_shapes import shown
from llmapi.api.parsing import Blueprint
from llmapi.api.schemas.jobs import DeadQuery, Job, JobList, Purged
from llmapi.api.v1.jobs import as_json

bp = Blueprint("dead_letters", __name__, url_prefix="/v1/jobs/dead-letters", description="Jobs that were given up")


@bp.route("")
class DeadLetters(MethodView):
    @bp.arguments(DeadQuery(), location="query")
    @bp.response(200, JobList())
    def get(self, query: dict[str, Any]) -> Response:
        """List your dead jobs, newest first, each with the reason and its last error."""
        page = services().jobs.list(identity().tenant, status="dead", **query)
        return as_json({"data": [shown(job) for job in page.jobs], "next": page.after})

    @bp.response(200, Purged())
    def delete(self) -> Response:
        """Delete your dead jobs; of more than 10,000 some are left for the next call."""
        return as_json({"deleted": services().jobs.dead.purge_all(identity().tenant)})


@bp.route("/<string:job_id>")
class DeadLetter(MethodView):
    @bp.response(204)
    def delete(self, job_id: str) -> None:
        """Delete a dead job."""
        services().jobs.dead.purge(job_id, identity().tenant)


@bp.route("/<string:job_id>/redrive")
class Redrive(MethodView):
    @bp.response(200, Job())
    def post(self, job_id: str) -> Response:
        """Let a dead job wait again, with all its attempts."""
        return as_json(shown(services().jobs.dead.redrive(job_id, identity().tenant)))
