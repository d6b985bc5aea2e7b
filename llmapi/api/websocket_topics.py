"""What sockets may listen to: how a job gets on, and what the tenant's calls use. One thread looks at all the jobs.

A job's changes by this process are seen at once, those by another at the next look. Usage is told of the calls of this
process.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any

from llmapi.api.errors import problem
from llmapi.api.v1.job_events import News
from llmapi.api.job_shapes import shown
from llmapi.core.clock import rfc3339
from llmapi.core.errors import LlmApiError, NotFound, Overloaded, ValidationFailed
from llmapi.core.events import CallFinished
from llmapi.jobs.job import ENDED, Job
from llmapi.jobs.registry import Registry
from llmapi.tasks.answers import cost_of, usage_of

Json = dict[str, Any]
Tell = Callable[[str, Json | None], None]  # kind of message, data
Forget = Callable[[], None]
LOOK = 0.5  # seconds between two looks at the jobs
MOST = 16  # subscriptions of a socket


class Watch:
    """Looks at jobs and hears of calls for all sockets of a process; its thread begins with the first job."""

    def __init__(self, jobs: Registry) -> None:
        self._jobs = jobs
        self._lock = threading.Lock()
        self._news: dict[object, tuple[News, Callable[[Job | LlmApiError], None]]] = {}
        self._tenants: Mapping[str, tuple[Tell, ...]] = {}
        self._awake, self._closing = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def job(self, id: str, tenant: str, tell: Callable[[Job | LlmApiError], None]) -> Forget:
        """Tell how a job stands now and after each change, and NotFound if there is none; returns what ends it."""
        mark = object()
        with self._lock:
            self._news[mark] = (News(self._jobs, id, tenant), tell)
            if self._thread is None:
                self._jobs.on_change(lambda _: self._awake.set())
                self._thread = threading.Thread(target=self._run, name="socket-topics", daemon=True)
                self._thread.start()
        self._awake.set()
        return lambda: self._forget(mark)

    def usage(self, tenant: str, tell: Tell) -> Forget:
        """Tell what each call of a tenant used; returns what ends it."""

        def forget() -> None:
            self._listen(tenant, lambda known: tuple(each for each in known if each is not tell))

        self._listen(tenant, lambda known: (*known, tell))
        return forget

    def __call__(self, event: Any) -> None:
        """Hear what happened: a sink of the bus."""
        if isinstance(event, CallFinished) and (listeners := self._tenants.get(event.tenant)):
            data = tick(event)
            for tell in listeners:
                tell("event", data)

    def close(self) -> None:
        """Look no more."""
        self._closing.set()
        self._awake.set()

    def _listen(self, tenant: str, change: Callable[[tuple[Tell, ...]], tuple[Tell, ...]]) -> None:
        with self._lock:
            told = {**self._tenants, tenant: change(self._tenants.get(tenant, ()))}
            self._tenants = {name: known for name, known in told.items() if known}

    def _forget(self, mark: object) -> None:
        with self._lock:
            self._news.pop(mark, None)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._awake.wait(LOOK if self._news else None)
            self._awake.clear()
            with self._lock:
                watched = list(self._news.items())
            for mark, (news, tell) in watched:
                if self._look(news, tell):
                    self._forget(mark)

    @staticmethod
    def _look(news: News, tell: Callable[[Job | LlmApiError], None]) -> bool:
        """Tell what is new about a job; True when nothing will be any more."""
        try:
            found = news.look()
        except LlmApiError as error:
            tell(error)
            return True
        if found is not None:
            tell(found[1])
        return found is not None and found[1].status in ENDED


class Topics:
    """The subscriptions of one socket.

    need: raises Unauthenticated or Forbidden when its key has not, or no more, a scope
    """

    def __init__(self, watch: Watch, tenant: str, request_id: str, need: Callable[[str], object]) -> None:
        self._watch, self._tenant, self._request_id, self._need = watch, tenant, request_id, need
        self._lock = threading.Lock()
        self._open: dict[str | None, Forget] = {}

    def open(self, job: str | None, tell: Tell) -> None:
        """Listen to a job, or to usage (None); raises Forbidden, ValidationFailed, Overloaded."""
        self._need("usage:read" if job is None else "jobs:read")
        with self._lock:
            if job in self._open:
                raise ValidationFailed("this topic is subscribed to", fields={"topic": ["is subscribed to"]})
            if len(self._open) >= MOST:
                raise Overloaded(f"{MOST} subscriptions are the most of a socket.", retry_after=1.0)
            if job is not None:
                self._open[job] = self._watch.job(job, self._tenant, self._heard_of(job, tell))
                return
            self._open[None] = self._watch.usage(self._tenant, tell)
        tell("subscribed", None)

    def end(self, job: str | None) -> None:
        """Listen to it no more; raises NotFound."""
        with self._lock:
            forget = self._open.pop(job, None)
        if forget is None:
            raise NotFound("This is not subscribed to.")
        forget()

    def any(self) -> bool:
        """Say whether anything is listened to."""
        return bool(self._open)

    def close(self) -> None:
        """Listen to nothing any more."""
        with self._lock:
            known, self._open = list(self._open.values()), {}
        for forget in known:
            forget()

    def _heard_of(self, job: str, tell: Tell) -> Callable[[Job | LlmApiError], None]:
        begun = threading.Event()

        def heard(found: Job | LlmApiError) -> None:
            over = isinstance(found, LlmApiError) or found.status in ENDED
            if over:
                with self._lock:
                    self._open.pop(job, None)
            if isinstance(found, LlmApiError):
                return tell("error", problem(found, self._request_id))
            if not begun.is_set():
                begun.set()
                tell("subscribed", None)
            tell("event", shown(found))

        return heard


def tick(event: CallFinished) -> Json:
    """Return what a finished call used."""
    return {
        "call_id": event.call_id,
        "task": event.task,
        "model": event.model,
        "provider": event.provider,
        "status": event.status,
        "cache": event.cache,
        "usage": usage_of(event.billed),
        "cost": cost_of(event.cost),
        "at": rfc3339(event.at),
    }
