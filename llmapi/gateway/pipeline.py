"""A stage does one thing to a call and hands it on; stages in a row are one handler."""

from collections.abc import Callable, Sequence
from functools import partial

from llmapi.core.calls import Call
from llmapi.core.reply import Handler, Reply

Stage = Callable[[Call, Handler], Reply]


def compose(stages: Sequence[Stage], last: Handler) -> Handler:
    """Return a handler that sends a call through the stages, the first outermost, and at the end to `last`."""
    handler = last
    for stage in reversed(stages):
        handler = partial(_through, stage, handler)
    return handler


def _through(stage: Stage, proceed: Handler, call: Call) -> Reply:
    return stage(call, proceed)
