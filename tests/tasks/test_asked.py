"""What was asked most is known where the operator wants that, and to nobody else."""

from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from llmapi.db.engine import reading
from llmapi.db.tables.cache import requests
from llmapi.tasks.asked import LONGEST, MOST, PENDING, Asked
from tests.jobs.parts import Clock
from tests.servers.databases import Database, away

HI, HO = {"prompt": "Hi"}, {"prompt": "Ho"}


@pytest.fixture
def engine(database: Database) -> Engine:
    return database.open()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def asked(engine: Engine, clock: Clock) -> Asked:
    return Asked(engine, 3600.0, now=clock)


def rows(engine: Engine) -> int:
    with reading(engine) as connection:
        return connection.scalar(select(func.count()).select_from(requests)) or 0


def test_the_most_asked_of_all_workers_come_first(engine: Engine, clock: Clock, asked: Asked) -> None:
    other = Asked(engine, 3600.0, now=clock)
    for worker in (asked, other):
        worker.note("a", "text", HI)
        worker.write()
    for _ in range(3):
        asked.note("a", "text", HO)
    other.note("a", "text", {"prompt": "Hum"})
    other.write()
    assert asked.top("a", "text", 2) == [HO, HI]


def test_nobody_is_told_what_another_tenant_asked_nor_what_another_task_was(asked: Asked) -> None:
    asked.note("a", "text", HI)
    asked.note("b", "text", HO)
    asked.note("a", "code", {"prompt": "Hum"})
    assert (asked.top("a", "text", 9), asked.top("c", "text", 9)) == ([HI], [])


def test_how_it_was_asked_does_not_make_it_another_question(asked: Asked) -> None:
    asked.note("a", "text", {**HI, "cache": {"tags": ["x"]}})
    asked.note("a", "text", {"on_disconnect": "finish", **HI})
    assert asked.top("a", "text", 9) == [HI]


def test_what_was_not_asked_for_long_is_forgotten(engine: Engine, clock: Clock, asked: Asked) -> None:
    asked.note("a", "text", HI)
    asked.note("a", "text", HO)
    asked.write()
    clock.forward(3000)
    asked.note("a", "text", HO)
    asked.write()
    clock.forward(700)
    assert asked.top("a", "text", 9) == [HO]
    assert (asked.purge(), rows(engine)) == (1, 1)


def test_nothing_is_kept_unless_it_is_wanted(engine: Engine, clock: Clock, asked: Asked) -> None:
    asked.note("a", "text", HI)
    asked.write()
    off = Asked(engine, 0.0, now=clock)
    off.note("a", "text", HO)
    off.start()
    off.stop()
    assert rows(engine) == 0, "what was kept before goes, too"


@pytest.mark.parametrize(
    ("task", "wanted"),
    [
        ("text", {**HI, "cache": {"mode": "bypass"}}),
        ("embed", {"input": "Hi"}),
        ("text", {"prompt": "x" * LONGEST}),
        ("text", {"prompt": "\ud800"}),
    ],
    ids=["unkept", "not asked ahead", "long", "half a character"],
)
def test_what_cannot_be_asked_ahead_is_not_kept(
    engine: Engine, asked: Asked, task: str, wanted: dict[str, Any]
) -> None:
    asked.note("a", task, wanted)
    asked.write()
    assert rows(engine) == 0


def test_a_flood_of_different_requests_keeps_no_more_than_its_bound(engine: Engine, asked: Asked) -> None:
    asked.note("a", "text", HI)
    for number in range(PENDING + 10):
        asked.note("a", "text", {"prompt": str(number)})
    asked.note("a", "text", HI)
    asked.write()
    assert rows(engine) == PENDING
    assert asked.top("a", "text", 1) == [HI]


def test_of_too_many_requests_the_most_asked_are_kept(engine: Engine, asked: Asked) -> None:
    for number in range(MOST + 5):
        if number % PENDING == 0:
            asked.write()
        asked.note("a", "text", {"prompt": str(number)})
        if number >= MOST:
            asked.note("a", "text", {"prompt": str(number)})
    asked.note("b", "text", HI)
    asked.write()
    assert (asked.purge(), rows(engine)) == (5, MOST + 1)
    assert {each["prompt"] for each in asked.top("a", "text", 5)} == {str(MOST + number) for number in range(5)}


def test_counts_are_written_behind_and_the_last_ones_at_the_end(engine: Engine, asked: Asked) -> None:
    asked.start()
    asked.note("a", "text", HI)
    asked.stop()
    assert rows(engine) == 1


def test_counts_that_cannot_be_written_fail_nobody(
    engine: Engine, asked: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    asked.note("a", "text", HI)
    away(engine)
    asked.write()
    assert "not written" in caplog.text


def test_an_hour_is_counted_from_the_last_time(clock: Clock, asked: Asked) -> None:
    asked.note("a", "text", HI)
    clock.forward(3600)
    assert asked.top("a", "text", 1) == []
