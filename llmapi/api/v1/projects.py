"""/v1/projects: the parts of one's own tenant that keys belong to and costs are booked on."""

from typing import Any

from flask import Response
from flask.views import MethodView

from llmapi.api.context import identity, services
from llmapi.api.openapi import LOCATION, examples_of
from llmapi.api.parsing import Blueprint
from llmapi.api.private import as_json, never_kept
from llmapi.api.schemas.identity import PageQuery, Project, ProjectList, ProjectRequest
from llmapi.core.clock import rfc3339
from llmapi.tenants import tenants

bp = Blueprint("projects", __name__, url_prefix="/v1/projects", description="What costs are booked on")
never_kept(bp)


@bp.route("")
class Projects(MethodView):
    @bp.arguments(ProjectRequest(), examples=examples_of("projects"))
    @bp.response(201, Project(), headers=LOCATION)
    def post(self, wanted: dict[str, Any]) -> Response:
        """Make a project."""
        project = services().tenants.create_project(identity().tenant, **wanted)
        return as_json(shown(project), 201, f"/v1/projects/{project.id}")

    @bp.arguments(PageQuery(), location="query")
    @bp.response(200, ProjectList())
    def get(self, query: dict[str, Any]) -> Response:
        """List your tenant's projects by id."""
        page, after = services().tenants.projects(identity().tenant, **query)
        return as_json({"data": [shown(project) for project in page], "next": after})


@bp.route("/<string:project_id>")
class OneProject(MethodView):
    @bp.response(200, Project())
    def get(self, project_id: str) -> Response:
        """Tell about a project."""
        return as_json(shown(services().tenants.project(identity().tenant, project_id)))

    @bp.response(204)
    def delete(self, project_id: str) -> Response:
        """Delete a project that no active key belongs to; what was booked on it stays booked."""
        services().tenants.delete_project(identity().tenant, project_id)
        return Response(status=204)


def shown(project: tenants.Project) -> dict[str, Any]:
    """Return a project as its tenant sees it."""
    return {"id": project.id, "name": project.name, "created": rfc3339(project.created)}
