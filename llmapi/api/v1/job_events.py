"""/v1/jobs/{id}/events: a job's status and progress as server-sent events, until it ends."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import orjson
from flask import Response, request
from flask.views import MethodView

from llmapi.api.context import identity, services
from llmapi.api.job_shapes import shown
from llmapi.api.parsing import Blueprint
from llmapi.api.streaming import GLANCE, PING, gone
from llmapi.core.errors import NotFound, Overloaded, StorageFull
from llmapi.jobs.job import ENDED, Job
from llmapi.jobs.registry import Registry

bp = Blueprint("job_events", __name__, url_prefix="/v1/jobs", description="Work for later, as it goes")
STREAM = {"content": {"text/event-stream": {"schema": {"type": "string"}}}}


@bp.route("/<string:job_id>/events")
class JobEvents(MethodView):
    @bp.doc(responses={200: {"description": "Events `status` and `progress`, the last with the result", **STREAM}})
    def get(self, job_id: str) -> Response:
        """Tell where a job stands now, and each change until it ends.

        An event's data is the job; its id grows. Whoever comes back, with or without `Last-Event-ID`, is told the
        present state first. A stream that ends before the job did is to be opened again.
        """
        house, tenant = services(), identity().tenant
        house.jobs.look(job_id, tenant)
        news, heartbeat = News(house.jobs, job_id, tenant), house.settings.heartbeat
        connection = request.environ.get("gunicorn.socket")
        body = written(news, connection, heartbeat=heartbeat, serving=lambda: house.serving)
        response = Response(body, mimetype="text/event-stream")
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Accel-Buffering"] = "no"
        return response


class News:
    """Looks at a job again and again: at once after a change by this process, soon after one by another."""

    def __init__(self, jobs: Registry, id: str, tenant: str) -> None:
        self._jobs = jobs
        self._id = id
        self._tenant = tenant
        self._changed = threading.Event()
        self._seen: Job | None = None

    def __enter__(self) -> "News":
        self._forget = self._jobs.on_change(self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        self._forget()

    def _heard(self, job: Job) -> None:
        if job.id == self._id:
            self._changed.set()

    def wait(self) -> None:
        """Return when a look may be worth while."""
        self._changed.wait(GLANCE)
        self._changed.clear()

    def look(self) -> tuple[str, Job] | None:
        """Return what kind of change there was and the job after it, None when there was none; raises NotFound."""
        try:
            job = self._jobs.look(self._id, self._tenant)
            if self._seen is not None and self._seen.version == job.version:
                return None
            if job.status in ENDED:
                job = self._jobs.get(self._id, self._tenant)
        except (Overloaded, StorageFull):  # the next look may be luckier
            return None
        kind = "progress" if self._seen is not None and standing(self._seen) == standing(job) else "status"
        self._seen = job
        return kind, job


def standing(job: Job) -> tuple[str, int, bool]:
    """Return what of a job is not its progress."""
    return job.status, job.attempts, job.cancel_asked


def written(
    news: News, connection: socket.socket | None, *, heartbeat: float, serving: Callable[[], bool]
) -> Iterator[bytes]:
    """Yield the bytes of a job's events and comments in its silences, while the client is there and the job goes on."""
    spoke = time.monotonic()
    with news:
        while serving() and not gone(connection):
            try:
                found = news.look()
            except NotFound:  # deleted meanwhile
                return
            if found is not None:
                kind, job = found
                yield b"id: %d\nevent: %s\ndata: %s\n\n" % (job.version, kind.encode(), orjson.dumps(shown(job)))
                spoke = time.monotonic()
                if job.status in ENDED:
                    return
            elif time.monotonic() - spoke >= heartbeat:
                yield PING
                spoke = time.monotonic()
            news.wait()
