"""A change, its outbox row and its telling belong together."""

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from llmapi.core.errors import LlmApiError
from llmapi.db.engine import reading
from llmapi.jobs.job import described
from llmapi.jobs.registry import Registry
from tests.jobs.parts import Clock, Heard, claimed, put

BROKEN = described(LlmApiError("broken"))


class Kept:
    """An outbox in a table of the same database; `broken` makes it fail after it wrote."""

    def __init__(self, engine: Engine) -> None:
        self.broken = False
        self._engine = engine
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE noted(kind TEXT, job TEXT, tenant TEXT)"))

    def add(self, connection: Connection, tenant: str, kind: str, data: Mapping[str, Any]) -> None:
        row = {"kind": kind, "job": data["id"], "tenant": tenant}
        connection.execute(text("INSERT INTO noted VALUES (:kind, :job, :tenant)"), row)
        if self.broken:
            raise RuntimeError("no room")

    def rows(self) -> list[tuple[str, ...]]:
        with reading(self._engine) as connection:
            return [tuple(row) for row in connection.execute(text("SELECT kind, job, tenant FROM noted"))]


@pytest.fixture
def outbox(engine: Engine) -> Kept:
    return Kept(engine)


@pytest.fixture
def registry(engine: Engine, heard: Heard, clock: Clock, outbox: Kept) -> Registry:
    return Registry(engine, heard, now=clock, max_attempts=1, outbox=outbox)


def test_every_end_of_a_job_is_put_into_the_outbox_once(registry: Registry, outbox: Kept, clock: Clock) -> None:
    ends = []
    for kind, end in (
        ("job.succeeded", lambda claim: registry.succeed(claim, {})),
        ("job.failed", lambda claim: registry.fail(claim, BROKEN)),
        ("job.dead", lambda claim: registry.fail(claim, BROKEN, retry_in=1)),
        ("job.dead", lambda claim: (clock.forward(30), registry.claim("w", 1))),
    ):
        ends.append((kind, put(registry), "a"))
        end(claimed(registry))
    ends.append(("job.cancelled", put(registry), "a"))
    registry.cancel(ends[-1][1], "a")
    assert outbox.rows() == ends


def test_what_does_not_end_a_job_is_not(registry: Registry, outbox: Kept) -> None:
    put(registry)
    claim = claimed(registry)
    registry.progress(claim, {"done": 1})
    registry.heartbeat(claim)
    registry.hand_back(claim)
    assert outbox.rows() == []


def test_an_end_that_cannot_be_noted_has_not_happened(registry: Registry, outbox: Kept, heard: Heard) -> None:
    id = put(registry)
    claim, outbox.broken = claimed(registry), True
    with pytest.raises(RuntimeError):
        registry.succeed(claim, {"a": 1})
    assert (registry.get(id, "a").status, registry.get(id, "a").result, outbox.rows()) == ("running", None, [])
    assert heard.statuses() == ["queued", "running"]
    outbox.broken = False
    assert registry.succeed(claim, {"a": 1})
    assert [kind for kind, *_ in outbox.rows()] == ["job.succeeded"]


def test_the_version_grows_with_each_change_a_caller_can_see(registry: Registry) -> None:
    id = put(registry)
    seen = [registry.look(id, "a").version]
    claim = claimed(registry)
    for change in (
        lambda: None,
        lambda: registry.progress(claim, {"done": 1}),
        lambda: registry.cancel(id, "a"),
        lambda: registry.hand_back(claim),
    ):
        change()
        seen.append(registry.look(id, "a").version)
    assert seen == sorted(set(seen))


def test_listeners_hear_of_every_change_until_they_leave(registry: Registry) -> None:
    heard: list[str] = []
    leave = registry.on_change(lambda job: heard.append(f"{job.status} {job.cancel_asked}"))
    id = put(registry)
    claim = claimed(registry)
    registry.progress(claim, {"done": 1})
    registry.cancel(id, "a")
    leave()
    registry.hand_back(claim)
    assert heard == ["queued False", "running False", "running False", "running True"]
