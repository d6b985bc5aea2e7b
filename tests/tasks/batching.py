"""Batches over a real database, with a model that is a function; `Killed` is what kill -9 looks like from inside."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from llmapi.api.openai.batch_doors import doors
from llmapi.core.calls import Call, Choice, Completion, Facts, Target, Usage
from llmapi.core.errors import CacheMiss
from llmapi.core.lifetime import Lifetime
from llmapi.core.money import FREE
from llmapi.core.reply import Reply
from llmapi.jobs.registry import Registry
from llmapi.jobs.running import JobContext
from llmapi.tasks.batch_rows import Batch, Rows
from llmapi.tasks.batches import Batches, open_batches
from llmapi.tasks.chat import ChatTask
from llmapi.tasks.kinds import TextTask
from llmapi.tasks.runner import TaskDefaults, Tasks

TEXT = "/v1/text/generate"


class Killed(BaseException):
    """The process is no more."""


class Clock:
    """A wall clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        self.now += timedelta(**span)


class Model:
    """The gateway and all behind it: counts what is paid for, by question, and does what `behaviour` says."""

    def __init__(self) -> None:
        self.paid: Counter[str] = Counter()
        self.most = 0
        self.behaviour: Callable[[str, Call], Any] = lambda text, call: None
        self._lock = threading.Lock()
        self._in_flight = 0

    def __call__(self, call: Call) -> Reply:
        text = call.messages[-1].text
        if call.cache.mode == "only":
            raise CacheMiss("not kept")
        call.sending()
        with self._lock:
            self.paid[text] += 1
            self._in_flight += 1
            self.most = max(self.most, self._in_flight)
        try:
            self.behaviour(text, call)
        finally:
            with self._lock:
                self._in_flight -= 1
        return Reply.of(Completion(f"re {text}", Usage(1, 1), "stop"), Facts("fake", "m"))


class Models:
    """One model for everybody."""

    def resolve(self, name: str, *, own_key: bool = False, stored: Collection[str] = ()) -> Choice:
        return Choice((Target("fake", "m", frozenset({"chat", "stream"})),))

    def default(self, tenant: str, task: str) -> str:
        return "m"

    def listing(self) -> list[dict[str, Any]]:
        return []


class Prices:
    """Everything is free."""

    def cost(self, target: Target, usage: Usage) -> Any:
        return FREE


class Told:
    """A bus and an outbox that remember."""

    def __init__(self) -> None:
        self.notices: list[tuple[str, Any]] = []

    def tell(self, event: Any) -> None:
        """Nobody listens."""

    def add(self, connection: Any, tenant: str, kind: str, data: Any) -> None:
        self.notices.append((kind, data))


class House:
    """A service with batches: `put` one, `run` its job once, read what came out."""

    def __init__(self, engine: Engine, **more: Any) -> None:
        self.clock, self.model, self.told, self.naps = Clock(), Model(), Told(), []
        self.engine = engine
        self.jobs = Registry(self.engine, self.told, now=self.clock)
        self.rows = Rows(engine, self.clock)
        self.batches = self.opened(**more)

    def opened(self, **more: Any) -> Batches:
        """Return the parts anew, as another process would have them."""
        usual = TaskDefaults("m", 0.0, 64, "", 30.0)
        tasks = Tasks(
            {"text": TextTask(""), "chat": ChatTask("")},
            gateway=self.model,
            models=Models(),
            prices=Prices(),
            preview=lambda call: {},
            defaults={"text": usual, "chat": usual},
        )
        known: dict[str, Any] = {"outbox": self.told, "now": self.clock, "sleep": self.nap, **more}
        parts = open_batches(self.engine, self.jobs, tasks, **known)
        parts.job.serve(doors())
        return parts

    def nap(self, seconds: float, _: Lifetime) -> None:
        self.naps.append(seconds)

    def upload(self, *lines: Any) -> str:
        """Return the id of a file of lines: bytes as they are, all else as JSON."""
        upload = self.batches.files.begin("a", "batch", "in.jsonl")
        for line in lines:
            upload.write((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n")
        return self.batches.files.finish(upload).id

    def put(self, *lines: Any, endpoint: str = TEXT, **more: Any) -> str:
        return self.batches.desk.create("a", endpoint, self.upload(*lines), **more).id

    def run(self, lifetime: Lifetime | None = None) -> Any:
        """Do what a worker does with the next job; None: there is none."""
        claim = self.jobs.claim("w", 30.0)
        if claim is None:
            return None
        job = claim.job
        life = lifetime or Lifetime(600)
        context = JobContext(
            job.id, job.tenant, job.kind, job.arguments or {}, "", 1, life, lambda told: self.jobs.progress(claim, told)
        )
        result = self.batches.job(context)
        self.jobs.succeed(claim, result)
        return result

    def get(self, id: str) -> Batch:
        return self.batches.desk.get(id, "a")

    def output(self, id: str) -> list[Any]:
        """Return the lines of the output file."""
        return self._lines(self.get(id).output_file)

    def errors(self, id: str) -> list[Any]:
        """Return the lines of the error file."""
        return self._lines(self.get(id).error_file)

    def _lines(self, file: str | None) -> list[Any]:
        if file is None:
            return []
        return [json.loads(line) for line in b"".join(self.batches.files.content(file, "a")).splitlines()]


def line(number: int, url: str = TEXT, **more: Any) -> dict[str, Any]:
    """Return a good line."""
    return {"custom_id": f"c{number}", "method": "POST", "url": url, "body": {"prompt": f"q{number}", **more}}
