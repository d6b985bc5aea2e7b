"""A key has only so many requests under way, over all workers, and a dead worker's end with its lease."""

import multiprocessing
import os
import signal
import threading
from datetime import UTC, datetime, timedelta

import pytest

from llmapi.core.errors import LlmApiError, Overloaded, RateLimited
from llmapi.tenants.under_way import UnderWay
from tests.jobs.parts import Clock
from tests.servers.databases import Database

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def workers(database: Database, clock: Clock) -> tuple[UnderWay, UnderWay]:
    """Two workers; the second on connections of its own."""
    return UnderWay(database.open(patience=0.5), now=clock), UnderWay(database.open(patience=0.5), now=clock)


Workers = tuple[UnderWay, UnderWay]


def full(worker: UnderWay, key: str = "k", most: int = 3) -> bool:
    try:
        worker.enter("acme", key, most)()
    except RateLimited:
        return True
    return False


def test_all_workers_together_have_no_more_than_the_limit(workers: Workers) -> None:
    one, two = workers
    leave = [one.enter("acme", "k", 3), one.enter("acme", "k", 3), two.enter("acme", "k", 3)]
    for worker in workers:
        with pytest.raises(RateLimited) as caught:
            worker.enter("acme", "k", 3)
        assert (caught.value.retry_after, caught.value.details["limit"]) == (1.0, 3)
    leave[1]()
    leave[1]()  # told twice
    two.enter("acme", "k", 3)
    assert full(one) and full(two)


def test_keys_and_tenants_do_not_meet(workers: Workers) -> None:
    workers[0].enter("acme", "k", 1)
    workers[0].enter("acme", "other", 1)
    workers[0].enter("other", "k", 1)
    assert full(workers[1], most=1)


def test_a_dead_workers_requests_count_no_more_once_its_lease_ends(workers: Workers, clock: Clock) -> None:
    dead, living = workers
    for _ in range(3):
        dead.enter("acme", "k", 3)
    clock.forward(19.9)
    assert full(living)
    clock.forward(0.2)
    assert not full(living)


def test_a_heartbeat_keeps_long_requests_counted_and_clears_away_dead_ones(workers: Workers, clock: Clock) -> None:
    one, two = workers
    leave = one.enter("acme", "k", 1)
    two.enter("acme", "dead", 1)
    for _ in range(5):
        clock.forward(15)
        one.beat()
    assert full(two, most=1)
    assert not full(one, "dead", most=1)
    leave()
    assert not full(two, most=1)


def test_threads_at_once_get_exactly_the_limit(workers: Workers) -> None:
    let_in: list[int] = []

    def enter(number: int) -> None:
        try:
            workers[number % 2].enter("acme", "k", 5)
            let_in.append(number)
        except LlmApiError:
            pass

    threads = [threading.Thread(target=enter, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(let_in) == 5


def hold_and_hang(database: Database, entered: object, never: object) -> None:
    worker = UnderWay(database.open())
    worker.start()
    worker.enter("acme", "k", 1)
    entered.set()  # type: ignore[attr-defined]
    never.wait()  # type: ignore[attr-defined]


def test_a_killed_process_frees_its_place_within_half_a_minute(database: Database) -> None:
    entered, never = FORK.Event(), FORK.Event()
    child = FORK.Process(target=hold_and_hang, args=(database, entered, never))
    child.start()
    assert entered.wait(20)
    assert full(UnderWay(database.open()), most=1)
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join(10)
    later = UnderWay(database.open(), now=lambda: datetime.now(UTC) + timedelta(seconds=30))
    assert not full(later, most=1)


def test_a_storage_that_is_held_up_refuses_and_an_end_is_counted_later(
    workers: Workers, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    worker = workers[0]
    leave, stay = worker.enter("acme", "k", 3), worker.enter("acme", "k", 3)
    with database.held_up("under_way"):
        with pytest.raises(Overloaded):
            workers[1].enter("acme", "k", 3)
        leave()
        with pytest.raises(Overloaded):
            worker.beat()
    assert "not counted" in caplog.text
    assert full(worker, most=2)
    worker.beat()
    assert not full(worker, most=2)
    worker.beat()
    assert full(worker, most=1)
    stay()
