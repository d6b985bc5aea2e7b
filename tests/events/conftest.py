"""A finished call to tell about, and a log to read."""

import io
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
import structlog

from llmapi.core.calls import Attempt, Usage
from llmapi.core.events import CallFinished
from llmapi.core.money import Cost
from llmapi.events.logs import ADOPTED, NOISY, configure_logs


def a_finished_call(**said: Any) -> CallFinished:
    plain: dict[str, Any] = {
        "call_id": "call_1",
        "tenant": "acme",
        "task": "text",
        "asked_model": "default",
        "provider": "gemini",
        "model": "flash",
        "status": "ok",
        "cache": "miss",
        "usage": Usage(100, 20, 10, 5),
        "cost": Cost(1_500_000, "priced"),
        "attempts": (Attempt("gemini", "flash", "ok"),),
        "duration": 0.3,
        "provider_time": 0.25,
        "streamed": False,
        "at": datetime(2026, 11, 20, tzinfo=UTC),
    }
    return CallFinished(**{**plain, **said})


class Log:
    """What was written, as bytes and as the objects of its lines."""

    def __init__(self) -> None:
        self.raw = io.BytesIO()
        self.out = io.TextIOWrapper(self.raw, "utf-8", write_through=True)

    def lines(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.raw.getvalue().splitlines()]


@pytest.fixture
def open_log() -> Iterator[Callable[..., Log]]:
    """Return a function that sends all logs into memory; everything is as before when the test is over."""
    others = [logging.getLogger(name) for name in (*ADOPTED, *NOISY)]
    root = logging.getLogger()
    before = [(other, other.level, list(other.handlers), other.propagate) for other in (root, *others)]

    def opened(**settings: Any) -> Log:
        log = Log()
        configure_logs(out=log.out, **settings)
        return log

    yield opened
    logging.captureWarnings(False)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()
    for other, level, handlers, propagate in before:
        other.setLevel(level)
        other.handlers[:] = handlers
        other.propagate = propagate
