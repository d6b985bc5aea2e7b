"""A clock that a test sets, a bus that remembers, and jobs to play with."""

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from llmapi.core.errors import CallEnded
from llmapi.core.events import JobChanged
from llmapi.jobs.job import Claim
from llmapi.jobs.registry import Registry
from llmapi.jobs.running import JobContext


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Heard:
    """A bus; `wait` returns once so many events of a status came."""

    def __init__(self) -> None:
        self.events: list[JobChanged] = []
        self._came = threading.Condition()

    def tell(self, event: Any) -> None:
        with self._came:
            self.events.append(event)
            self._came.notify_all()

    def statuses(self) -> list[str]:
        return [event.status for event in self.events]

    def wait(self, status: str, times: int = 1) -> JobChanged:
        with self._came:
            assert self._came.wait_for(lambda: self.statuses().count(status) >= times, 10), self.statuses()
        return [event for event in self.events if event.status == status][-1]


class Held:
    """A run that goes on until it is let go or its lifetime ends; `heeds` says whether it looks at the latter."""

    def __init__(self, heeds: bool = True) -> None:
        self.began = threading.Event()
        self.let_go = threading.Event()
        self.left = threading.Event()
        self._heeds = heeds

    def __call__(self, context: JobContext) -> Mapping[str, Any]:
        if self._heeds:
            context.lifetime.on_end(self.let_go.set)
        self.began.set()
        self.let_go.wait(10)
        self.left.set()
        if context.lifetime.ended:
            raise CallEnded("The call was cancelled.")
        return {"ran": context.attempt}


def put(registry: Registry, **more: Any) -> str:
    return registry.put("echo", {"text": "hello"}, **{"tenant": "a", **more})


def claimed(registry: Registry, owner: str = "w1", lease: float = 30.0) -> Claim:
    claim = registry.claim(owner, lease)
    assert claim is not None
    return claim
