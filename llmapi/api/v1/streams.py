"""GET /v1/streams/{id}: read a stream on, from the event after the last one that arrived."""

import re
from functools import partial
from typing import Any

from flask import Response, request
from flask.views import MethodView

from llmapi.api.answering import event_stream
from llmapi.api.context import identity, request_id, services
from llmapi.api.errors import problem
from llmapi.api.parsing import Blueprint
from llmapi.api.schemas.streams import StreamQuery
from llmapi.api.streaming import GLANCE, resumed
from llmapi.api.wishes import unfit

LAST = "Last-Event-ID"
NUMBER = re.compile(r"[0-9]{1,9}\Z")
CONTENT = {"text/event-stream": {"schema": {"type": "object"}}}
EVENTS = {200: {"description": "The rest of the events", "content": CONTENT}}
LAST_EVENT = {"in": "header", "name": LAST, "schema": {"type": "string"}, "description": "The last event you have"}

bp = Blueprint("streams", __name__, url_prefix="/v1/streams", description="Streams, read on after a lost connection")


@bp.route("/<string:stream_id>")
class OneStream(MethodView):
    @bp.doc(parameters=[LAST_EVENT], responses=EVENTS)
    @bp.arguments(StreamQuery(), location="query")
    def get(self, query: dict[str, Any], stream_id: str) -> Response:
        """Read a stream on, while it runs and for ten minutes after; X-Stream-ID of its answer is its id."""
        house, begin = services(), last_event(query) + 1
        kept = house.streams.follow(stream_id, identity().tenant, begin, GLANCE)
        connection = request.environ.get("gunicorn.socket")
        show = partial(problem, call_id=request_id())
        body = resumed(kept, begin, connection, heartbeat=house.settings.heartbeat, show=show)
        return event_stream(body, stream_id)


def last_event(query: dict[str, Any]) -> int:
    """Return the number of the last event the caller has; -1: none."""
    told = request.headers.get(LAST)
    if told is None:
        return int(query.get("starting_after", -1))
    if not NUMBER.match(told):
        raise unfit(LAST, "Send the id of an event: a whole number.")
    return int(told)
