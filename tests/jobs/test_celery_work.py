"""No message is lost: one that finds nothing to run is used when a job has ended."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

from llmapi.jobs.celery_work import Work


class Turns:
    """A runner for which each look finds what the test says, and from then on nothing."""

    def __init__(self, looks: Iterator[Callable[[], str | None]]) -> None:
        self.ran: list[str] = []
        self.began, self.let_go = threading.Event(), threading.Event()
        self._looks = looks

    def take(self) -> str | None:
        return next(self._looks, lambda: None)()

    def run(self, claim: str) -> None:
        self.ran.append(claim)
        if claim == "held":
            self.began.set()
            assert self.let_go.wait(10)


def found(*claims: str | None) -> Iterator[Callable[[], str | None]]:
    return iter([lambda claim=claim: claim for claim in claims])


def work_of(runner: Any) -> Work:
    return Work(runner)


def test_a_message_that_found_nothing_is_used_when_a_job_has_ended() -> None:
    runner = Turns(found(None, "a", "b"))
    work = work_of(runner)
    work.run()
    assert runner.ran == []
    work.run()
    assert runner.ran == ["a", "b"]


def test_a_spare_message_is_kept_until_there_is_a_job_for_it() -> None:
    runner = Turns(found(None, "a", None, "b", "c"))
    work = work_of(runner)
    for _ in range(3):
        work.run()
    assert runner.ran == ["a", "b", "c"]


def test_a_job_that_ends_while_a_message_finds_nothing_lets_it_look_again() -> None:
    def end_it() -> None:
        runner.let_go.set()
        first.join(10)

    runner = Turns(iter([lambda: "held", end_it, lambda: "next"]))
    work = work_of(runner)
    first = threading.Thread(target=work.run)
    first.start()
    assert runner.began.wait(10)
    work.run()
    assert runner.ran == ["held", "next"]
