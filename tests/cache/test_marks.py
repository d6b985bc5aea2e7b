"""What is declared good no longer: in effect here at once, in every other process at its next look."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, func, select

from llmapi.cache.clearing import mark_of
from llmapi.cache.marks import Marks
from llmapi.cache.memory import MemoryCache
from llmapi.core.calls import Completion
from llmapi.core.kept import About, Mark
from llmapi.db.engine import reading
from llmapi.db.tables.cache import marks as table
from tests.servers.databases import Database

NOON = datetime(2026, 11, 18, 12, tzinfo=UTC)


class Worker:
    """One process: a cache of its own, and the marks of all."""

    def __init__(self, engine: Engine, **more) -> None:
        self.now = NOON
        self.cache = MemoryCache(ttl=3600.0, clock=lambda: self.now.timestamp())
        self.marks = Marks(engine, [self.cache.mark], ttl=3600.0, now=lambda: self.now, **more)

    def keep(self, key: str, **about) -> None:
        known = About(**{"tenant": key.partition(":")[0], "task": "text", **about})
        self.cache.put(key, Completion(key, finish="stop"), provider="gemini", model="small", about=known)

    def has(self, *keys: str) -> list[bool]:
        return [self.cache.get(key) is not None for key in keys]

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def two(database: Database) -> tuple[Worker, Worker]:
    """Two processes on one database."""
    return Worker(database.open()), Worker(database.open())


def clear(worker: Worker, tenant: str = "a", **wanted) -> None:
    worker.marks.add([mark_of(tenant, wanted, worker.now.timestamp())])


@pytest.mark.parametrize(
    ("wanted", "about"),
    [
        ({"cache_key": "a:1"}, {}),
        ({"tag": "night"}, {"tags": ("day", "night")}),
        ({"model": "small"}, {}),
        ({"model": "gemini/small"}, {}),
        ({"task": "code"}, {"task": "code"}),
        ({"template": "greeting@3"}, {"tags": ("template:greeting", "template:greeting@3")}),
        ({"all": True}, {}),
    ],
)
def test_what_one_worker_clears_is_gone_there_at_once_and_elsewhere_at_the_next_look(two, wanted, about):
    mine, theirs = two
    for worker in two:
        worker.keep("a:1", **about)
        worker.keep("b:1", **about)
        worker.later(1)
    clear(mine, **wanted)
    assert (mine.has("a:1", "b:1"), theirs.has("a:1")) == ([False, True], [True])
    assert theirs.marks.look() == 1
    assert theirs.has("a:1", "b:1") == [False, True]
    assert theirs.marks.look() == 0


def test_what_is_asked_for_afterwards_is_kept_anew(two):
    mine, theirs = two
    clear(mine, all=True)
    theirs.later(1)
    theirs.keep("a:1")
    theirs.marks.look()
    assert theirs.has("a:1") == [True]


def test_what_was_on_its_way_when_it_was_cleared_is_not_served_either(two):
    mine, theirs = two
    clear(mine, all=True)
    theirs.later(1)
    theirs.keep("a:1", took=2.0)
    theirs.marks.look()
    assert theirs.has("a:1") == [False]


def test_only_what_is_old_is_cleared_by_age(two):
    mine, _ = two
    mine.keep("a:old")
    mine.later(100)
    mine.keep("a:new")
    mine.later(1)
    clear(mine, older_than_s=50)
    assert mine.has("a:old", "a:new") == [False, True]


def test_a_worker_that_starts_later_knows_what_was_cleared(two, database):
    mine, _ = two
    clear(mine, tag="night")
    late = Worker(database.open(), every=0.01)
    late.keep("a:1", tags=("night",), took=1.0)
    late.marks.start()
    try:
        assert late.has("a:1") == [False]
    finally:
        late.marks.stop()


def test_a_running_worker_hears_of_a_mark_by_itself(two, database):
    told = threading.Event()
    listener = Marks(database.open(), [lambda marks: told.set()], ttl=60.0, every=0.01)
    listener.start()
    try:
        assert not told.wait(0.05)
        clear(two[0], all=True)
        assert told.wait(5.0)
    finally:
        listener.stop()


def test_a_mark_is_seen_although_the_newest_one_was_deleted(two):
    mine, theirs = two
    clear(mine, tag="night")
    assert theirs.marks.look() == 1
    mine.later(8 * 86_400)
    assert mine.marks.purge() == 1
    clear(mine, tag="night")
    assert theirs.marks.look() == 1


def test_marks_are_kept_as_long_as_they_may_mean_something(two):
    mine, _ = two
    clear(mine, all=True)
    mine.later(7 * 86_400 + 3599)
    assert mine.marks.purge() == 0
    mine.later(2)
    assert mine.marks.purge() == 1


def test_the_same_mark_again_takes_the_place_of_the_first(two, database):
    mine, theirs = two
    clear(mine, tag="night")
    theirs.marks.look()
    theirs.later(5)
    theirs.keep("a:1", tags=("night",))
    mine.later(10)
    clear(mine, tag="night")
    theirs.marks.look()
    assert (theirs.has("a:1"), count(database)) == ([False], 1)


def test_a_mark_for_all_takes_in_the_earlier_ones_of_its_tenant_alone(two, database):
    mine, _ = two
    clear(mine, tag="x")
    clear(mine, tenant="b", tag="x")
    clear(mine, all=True)
    assert count(database) == 2


def test_a_tenant_with_too_many_marks_has_one_that_means_all(database):
    mine = Worker(database.open(), most=3)
    theirs = Worker(database.open())
    theirs.keep("a:1")
    mine.later(1)
    for number in range(4):
        clear(mine, tag=f"t{number}")
    theirs.marks.look()
    assert (theirs.has("a:1"), count(database)) == ([False], 1)


def test_marks_of_writers_at_once_are_all_seen(database):
    workers = [Worker(database.open()) for _ in range(4)]
    seen: list[Mark] = []
    reader = Marks(database.open(), [seen.extend], ttl=60.0)
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            reader.look()

    def write(number: int) -> None:
        for turn in range(10):
            clear(workers[number], tag=f"{number}-{turn}")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    watch = threading.Thread(target=read)
    for each in (watch, *threads):
        each.start()
    for each in threads:
        each.join()
    over.set()
    watch.join()
    reader.look()
    assert {mark.value for mark in seen} == {f"{number}-{turn}" for number in range(4) for turn in range(10)}


def count(database: Database) -> int:
    with reading(database.open()) as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()
