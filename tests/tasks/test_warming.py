"""Asking ahead: what is kept is not paid for again, whatever ends a run; and what may not be asked is not."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from llmapi.cache.memory import MemoryCache
from llmapi.core.calls import Call
from llmapi.core.errors import BudgetExceeded, CallEnded, ProviderThrottled, ProviderTimeout
from llmapi.core.lifetime import Lifetime
from llmapi.core.reply import Reply
from llmapi.gateway.caching import Caching
from llmapi.tasks.kinds import TextTask
from llmapi.tasks.lookup import Lookup
from llmapi.tasks.runner import TaskDefaults, Tasks
from llmapi.tasks.warm_questions import Questions
from llmapi.tasks.warming import WarmJob
from tests.tasks.batching import Clock, Model, Models, Prices


@dataclass
class Job:
    """What a run is given."""

    arguments: dict[str, Any]
    lifetime: Lifetime = field(default_factory=lambda: Lifetime(600))
    progress: Callable[[Any], bool] = lambda told: True
    tenant: str = "a"
    priority: int = 2


class NoMeaning:
    """Nothing is kept by meaning."""

    def explain(self, call: Call) -> dict[str, Any]:
        return {"served": False}


class House:
    """A cache before a model that is a function."""

    def __init__(self, **more: Any) -> None:
        self.clock, self.model, self.naps = Clock(), Model(), []
        self.cache = MemoryCache(entries=1000, clock=lambda: self.clock().timestamp())
        stage = Caching(self.cache, MemoryCache())
        usual = {"text": TaskDefaults("m", 0.0, 64, "", 30.0)}
        self.payers: set[str] = set()

        def gateway(call: Call) -> Reply:
            self.payers.add(call.payer.key)
            return stage(call, self.model)

        tasks = Tasks({"text": TextTask("")}, gateway=gateway, models=Models(), prices=Prices(),
                      preview=lambda call: {}, defaults=usual)  # fmt: skip
        known: dict[str, Any] = {"now": self.clock, "sleep": lambda seconds, life: self.naps.append(seconds), **more}
        self.job = WarmJob(tasks, Lookup(tasks, self.cache, NoMeaning()), Questions(None, self), **known)
        self.since = self.clock().timestamp()

    def wanted(self, count: int = 20, **more: Any) -> dict[str, Any]:
        requests = [{"prompt": f"q{number}"} for number in range(count)]
        return {"task": "text", "requests": requests, "payer": {"key": "k1"}, "since": self.since, **more}

    def later(self, seconds: float = 1.0) -> None:
        self.clock.forward(seconds=seconds)


@pytest.fixture
def house() -> House:
    return House()


def test_what_is_kept_is_not_asked_and_the_rest_is_paid_by_who_put_the_job(house):
    house.job(Job(house.wanted(5)))
    told = house.job(Job(house.wanted(8)))
    assert (told["kept"], told["asked"], told["left"], told["cost"]["amount"]) == (5, 3, 0, "0")
    assert (set(house.model.paid.values()), house.payers) == ({1}, {"k1"})


def test_a_run_that_is_ended_goes_on_where_it_was_and_pays_nothing_twice(house):
    life = Lifetime(600)

    def end_at_eight(text: str, call: Call) -> None:
        if len(house.model.paid) == 8:
            life.end()

    house.model.behaviour = end_at_eight
    with pytest.raises(CallEnded):
        house.job(Job(house.wanted(), life))
    assert 8 <= len(house.model.paid) < 20
    house.model.behaviour = lambda text, call: None
    told = house.job(Job(house.wanted()))
    assert (told["kept"] + told["asked"], set(house.model.paid.values())) == (20, {1})


def test_a_refresh_asks_anew_once_although_its_job_runs_twice(house):
    house.job(Job(house.wanted(4)))
    house.later(10)
    house.since = house.clock().timestamp()
    house.later()
    for _ in range(2):
        told = house.job(Job(house.wanted(4, refresh=True)))
        house.later()
    assert (told["kept"], told["asked"], set(house.model.paid.values())) == (4, 0, {2})


def test_a_question_that_is_there_twice_is_asked_once(house):
    wanted = house.wanted(3)
    told = house.job(Job({**wanted, "requests": wanted["requests"] * 2}))
    assert (told["questions"], told["repeated"], told["asked"]) == (6, 3, 3)


def test_a_spent_budget_ends_it_and_the_rest_is_told(house):
    def refuse(text: str, call: Call) -> None:
        if len(house.model.paid) > 4:
            raise BudgetExceeded("spent")

    house.model.behaviour = refuse
    told = house.job(Job(house.wanted(200)))
    assert (told["stopped"], told["asked"]) == ("budget_exceeded", 4)
    assert (told["failed"] <= 8, told["left"]) == (True, 196 - told["failed"])
    assert {each["code"] for each in told["errors"]} == {"budget_exceeded"}


def test_what_nobody_worked_on_is_asked_again_after_a_while(house):
    def throttle_first(text: str, call: Call) -> None:
        if house.model.paid[text] == 1:
            raise ProviderThrottled("slow down", retry_after=7.0)

    house.model.behaviour = throttle_first
    told = house.job(Job(house.wanted(3)))
    assert (told["asked"], told["failed"], house.naps) == (3, 0, [7.0] * 3)


def test_what_may_have_been_paid_for_is_not_asked_again(house):
    def lost(text: str, call: Call) -> None:
        error = ProviderTimeout("no answer")
        error.in_doubt = True
        raise error

    house.model.behaviour = lost
    told = house.job(Job(house.wanted(3)))
    assert (told["failed"], set(house.model.paid.values()), house.naps) == (3, {1}, [])


def test_a_job_that_another_worker_has_asks_no_more(house):
    gate = threading.Event()
    house.model.behaviour = lambda text, call: gate.wait(5.0)

    def lost(told: Any) -> bool:
        gate.set()
        return False

    with pytest.raises(CallEnded):
        house.job(Job(house.wanted(200), progress=lost))
    assert len(house.model.paid) < 200


def test_a_stop_begins_no_more_and_waits_to_be_handed_on(house):
    life, begun = Lifetime(600), threading.Event()

    def stop(text: str, call: Call) -> None:
        house.job.drain()
        begun.set()

    house.model.behaviour = stop
    ender = threading.Thread(target=lambda: (begun.wait(5.0), life.end()))
    ender.start()
    with pytest.raises(CallEnded):
        house.job(Job(house.wanted(100), life))
    ender.join()
    assert 1 <= len(house.model.paid) <= 8


def test_a_job_without_time_for_all_says_what_is_left():
    seconds = [0.0]
    house = House(clock=lambda: seconds[0], concurrency=1)

    def take_a_second(text: str, call: Call) -> None:
        seconds[0] += 1.0

    house.model.behaviour = take_a_second
    told = house.job(Job(house.wanted(50), Lifetime(10, lambda: seconds[0])))
    assert (told["asked"], told["left"]) == (8, 42)


def test_no_more_are_asked_at_once_than_allowed():
    house = House(concurrency=3)
    barrier = threading.Barrier(3)
    house.model.behaviour = lambda text, call: barrier.wait(5.0)
    house.job(Job(house.wanted(9)))
    assert house.model.most == 3
