"""/v1/batches: many requests to one endpoint, from a file or a list, as OpenAI's API takes them."""

from typing import Any

from flask import Response, request
from flask.views import MethodView

from llmapi.api import wishes
from llmapi.api.context import committing, identity, request_id, services
from llmapi.api.openai import headers
from llmapi.api.openai.docs import ERRORS, openai_docs
from llmapi.api.openai.files import as_json, listed, seconds
from llmapi.api.parsing import Blueprint
from llmapi.api.schemas.openai_batches import BatchList, BatchObject, BatchQuery, BatchRequest
from llmapi.tasks.batch_rows import Batch

Json = dict[str, Any]
MOMENTS = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
LARGEST = 2 * 1_048_576  # bytes of a list of requests

bp = Blueprint("batches", __name__, url_prefix="/v1/batches", description="Many requests, answered within a day")
headers.install(bp)


@bp.before_request
def take_more() -> None:
    """Let a list of requests be longer than one request may be."""
    request.max_content_length = max(LARGEST, services().settings.max_body)


@bp.route("")
class Batches(MethodView):
    @openai_docs(bp, "batches", BatchRequest(), BatchObject())
    def post(self, asked: Json) -> Response:
        """Have many requests answered within a day, each once.

        A line that is not valid fails alone. What stops the service in between repeats no line that was sent.
        """
        if wishes.provider_key():
            raise wishes.unfit(wishes.PROVIDER_KEY, "A key is used at once or not at all: it is not kept for a batch.")
        desk, tenant = services().batches.desk, identity().tenant
        committing()
        labels, keep_for = asked.get("metadata"), asked.get("output_expires_after")
        file = asked.get("input_file_id") or desk.written(tenant, asked["endpoint"], asked["requests"]).id
        batch = desk.create(
            tenant,
            asked["endpoint"],
            file,
            labels=labels,
            payer=identity().payer,
            keep_for=keep_for,
            request_id=request_id(),
        )
        return as_json(shown(batch))

    @bp.arguments(BatchQuery(), location="query", error_status_code=400)
    @bp.doc(responses=ERRORS)
    @bp.response(200, BatchList())
    def get(self, query: Json) -> Response:
        """List your batches, newest first."""
        page = services().batches.desk.list(identity().tenant, **query)
        return as_json(listed([shown(each) for each in page.batches], page.more))


@bp.route("/<string:batch_id>")
class OneBatch(MethodView):
    @bp.doc(responses=ERRORS)
    @bp.response(200, BatchObject())
    def get(self, batch_id: str) -> Response:
        """Tell where a batch stands; once it has ended, in which files its answers and errors are."""
        return as_json(shown(services().batches.desk.get(batch_id, identity().tenant)))


@bp.route("/<string:batch_id>/cancel")
class Cancel(MethodView):
    @bp.doc(responses=ERRORS)
    @bp.response(200, BatchObject())
    def post(self, batch_id: str) -> Response:
        """Cancel a batch: lines under way end within two seconds, what was answered before is in its files."""
        return as_json(shown(services().batches.desk.cancel(batch_id, identity().tenant)))


def shown(batch: Batch) -> Json:
    """Return a batch as OpenAI's API shows it."""
    moments = {f"{name}_at": getattr(batch, f"{name}_at") for name in MOMENTS}
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": list(batch.errors)} if batch.errors else None,
        "input_file_id": batch.input_file,
        "completion_window": "24h",
        "status": batch.status,
        "output_file_id": batch.output_file,
        "error_file_id": batch.error_file,
        "created_at": seconds(batch.created),
        "expires_at": seconds(batch.expires),
        **{name: seconds(at) if at else None for name, at in moments.items()},
        "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "metadata": dict(batch.labels),
    }
