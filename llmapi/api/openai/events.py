"""A task's answer as server-sent events in OpenAI's manner: data alone, an error ends the stream without its last word.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
from flask import Response, request

from llmapi.api import streaming
from llmapi.api.context import caller, services
from llmapi.api.openai.errors import openai_error
from llmapi.core.errors import LlmApiError
from llmapi.core.lifetime import Lifetime
from llmapi.tasks.runner import StreamEvent

Frames = Callable[[StreamEvent], bytes]
Wrong = Callable[[LlmApiError], bytes]


def streamed(task: str, wanted: dict[str, Any], frames: Frames, wrong: Wrong | None = None) -> Response:
    """Return a task's answer as events; what fails before the first one keeps its own status.

    frames, wrong: say each event, and what went wrong after the first one, in the door's words
    """
    house, asker = services(), caller()
    connection = request.environ.get("gunicorn.socket")
    lifetime = Lifetime(house.tasks.timeout(task, asker.limit))
    asker = replace(asker, lifetime=lifetime)
    pump = streaming.Pump(partial(house.tasks.stream, task, wanted, asker), lifetime)
    try:
        first = streaming.first_event(pump, connection, house.settings.heartbeat)
    except BaseException:
        pump.stop()
        raise
    heard = streaming.heard(pump, first, connection, house.settings.heartbeat)
    response = Response(written(pump, heard, frames, wrong or said), mimetype="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def written(
    pump: streaming.Pump[StreamEvent], events: Iterator[StreamEvent | LlmApiError | None], frames: Frames, wrong: Wrong
) -> Iterator[bytes]:
    """Yield a stream's bytes, with comments in its silences; leaving it ends the call."""
    try:
        for event in events:
            if event is None:
                yield streaming.PING
            elif isinstance(event, LlmApiError):
                yield wrong(event)
                return
            else:
                yield frames(event)
    finally:
        pump.stop()


def said(error: LlmApiError) -> bytes:
    """Return an error as one event."""
    return data(openai_error(error))


def data(told: dict[str, Any]) -> bytes:
    """Return one event on the wire."""
    return b"data: %s\n\n" % orjson.dumps(told)
