"""/v1/jobs: work for later, kept in the database."""

from typing import Any

import orjson
from flask import Response
from flask.views import MethodView
from marshmallow import Schema, ValidationError

from llmapi.api.answering import accepted
from llmapi.api.context import identity, services
from llmapi.api.job_shapes import shown
from llmapi.api.openapi import LOCATION, examples_of
from llmapi.api.parsing import Blueprint, flattened
from llmapi.api.schemas.chat import ChatRequest
from llmapi.api.schemas.classify import ClassifyRequest
from llmapi.api.schemas.code import CodeRequest
from llmapi.api.schemas.jobs import Accepted, Job, JobList, JobQuery, JobRequest
from llmapi.api.schemas.text import TextRequest
from llmapi.core.errors import ValidationFailed

bp = Blueprint("jobs", __name__, url_prefix="/v1/jobs", description="Work for later")
REQUESTS: dict[str, Schema] = {
    "text": TextRequest(),
    "code": CodeRequest(),
    "classify": ClassifyRequest(),
    "chat": ChatRequest(),
}
NOT_INSIDE = {
    "stream": "A job is not streamed.",
    "dry_run": "A job is not dry.",
    "request_id": "It goes beside `task`.",
}


@bp.route("")
class Jobs(MethodView):
    @bp.arguments(JobRequest(), examples=examples_of("jobs"))
    @bp.response(202, Accepted(), headers=LOCATION)
    def post(self, wanted: dict[str, Any]) -> Response:
        """Queue a task; its result is kept for a week."""
        wanted.pop("request_id", None)  # has done its work (idempotency.py)
        task = wanted.pop("task")
        return accepted(task, task_request(task, wanted.pop("request")), **wanted)

    @bp.arguments(JobQuery(), location="query")
    @bp.response(200, JobList())
    def get(self, query: dict[str, Any]) -> Response:
        """List your jobs, newest first; without task, progress and result, which each job's own address has."""
        page = services().jobs.list(identity().tenant, **query)
        return as_json({"data": [shown(job) for job in page.jobs], "next": page.after})


@bp.route("/<string:job_id>")
class OneJob(MethodView):
    @bp.response(200, Job())
    def get(self, job_id: str) -> Response:
        """Tell where a job stands; once it succeeded, its result."""
        return as_json(shown(services().jobs.get(job_id, identity().tenant)))

    @bp.response(200, Job())
    def delete(self, job_id: str) -> Response:
        """Cancel a job. A queued one is never run; a running one ends within two seconds."""
        return as_json(shown(services().jobs.cancel(job_id, identity().tenant)))


def task_request(task: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the inner request checked as its own route would; raises ValidationFailed naming request.<field>."""
    try:
        wanted: dict[str, Any] = REQUESTS[task].load(body)
    except ValidationError as error:
        fields: dict[str, list[str]] = {}
        for name, said in flattened(error.messages, "request"):
            fields.setdefault(name, []).append(said)
        raise ValidationFailed("the request inside is not valid", fields=fields) from None
    if wrong := {f"request.{name}": [said] for name, said in NOT_INSIDE.items() if wanted.pop(name, False)}:
        raise ValidationFailed("The request inside says what a job cannot do.", fields=wrong)
    return wanted


def as_json(told: dict[str, Any]) -> Response:
    """Return a JSON answer."""
    return Response(orjson.dumps(told), mimetype="application/json")
