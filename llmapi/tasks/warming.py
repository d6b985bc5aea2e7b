"""Asking questions before somebody does, so that their answers are kept: a job.

What is kept already is not asked again, so a job that was broken off pays nothing twice as long as the cache has not
lost what was paid for. With `refresh` an answer is asked for anew unless it is newer than the job.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Protocol

from llmapi.core.clock import Monotonic, Wall, monotonic, utc_now
from llmapi.core.errors import BudgetExceeded, CallEnded, LlmApiError
from llmapi.core.events import KEPT
from llmapi.core.identity import Payer
from llmapi.core.ids import new_id
from llmapi.core.lifetime import Lifetime
from llmapi.db.columns import EPOCH
from llmapi.gateway.retry import Nap, nap
from llmapi.tasks.answers import Json
from llmapi.tasks.batch_asking import pause
from llmapi.tasks.lookup import Lookup
from llmapi.tasks.runner import Caller, Tasks
from llmapi.tasks.warm_questions import Question, Questions, once_each

KIND: Final = "warm"
PRIORITY: Final = 2  # as a batch
TRIES: Final = 4  # of a question nobody worked on
SHARE: Final = 0.75  # of a job's time in which questions are begun; the rest is for finishing them
LOOK: Final = 0.25  # seconds between two words on how far it is
TAKEN: Final = "taken"  # stopped because another run has the job
TOLD: Final = 20  # failures the result names


class Context(Protocol):
    """What a job's run is given; jobs/running.py has the whole of it."""

    @property
    def tenant(self) -> str: ...
    @property
    def arguments(self) -> Mapping[str, Any]: ...
    @property
    def lifetime(self) -> Lifetime: ...
    @property
    def priority(self) -> int: ...
    @property
    def progress(self) -> Callable[[Mapping[str, Any]], bool]: ...


@dataclass
class Sum:
    """What became of the questions so far; safe for threads."""

    kept: int = 0
    asked: int = 0
    failed: int = 0
    cost: Decimal | None = Decimal(0)  # None: nobody knows it
    errors: list[Json] = field(default_factory=list)
    stopped: str = ""  # the code of what lets no further question be asked
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def done(self) -> int:
        return self.kept + self.asked + self.failed

    def was_kept(self) -> None:
        """Note an answer that was there."""
        with self._lock:
            self.kept += 1

    def answered(self, told: Json) -> None:
        """Note an answer and what it cost."""
        if told["cache"]["status"] in KEPT:
            return self.was_kept()
        amount = told["cost"]["amount"]
        with self._lock:
            self.asked += 1
            self.cost = None if amount is None or self.cost is None else self.cost + Decimal(amount)

    def went_wrong(self, number: int, error: LlmApiError) -> None:
        """Note a failure; one of money ends it all."""
        with self._lock:
            self.failed += 1
            self.errors.append({"line": number, "code": error.code, "message": error.message[:500]})
            if isinstance(error, BudgetExceeded):
                self.stopped = error.code


class WarmJob:
    """Runs `{"task", "requests" or "file" or "top", "refresh", "payer", "since"}`; after `drain` it begins no question.

    concurrency: questions of one job asked at once
    """

    def __init__(
        self,
        tasks: Tasks,
        lookup: Lookup,
        questions: Questions,
        *,
        concurrency: int = 8,
        sleep: Nap = nap,
        now: Wall = utc_now,
        clock: Monotonic = monotonic,
    ) -> None:
        self.questions = questions
        self._tasks, self._lookup = tasks, lookup
        self._concurrency, self._sleep, self._now, self._clock = concurrency, sleep, now, clock
        self._draining = threading.Event()

    def drain(self) -> None:
        """The process is about to stop: begin no more questions."""
        self._draining.set()

    def __call__(self, job: Context) -> Json:
        """Ask what is not kept; returns the counts. Raises NotFound, ValidationFailed, CallEnded."""
        every = list(self.questions.of(job.tenant, job.arguments))
        waiting, sum = once_each(every), Sum()
        self._work(waiting, job, sum)
        if self._draining.is_set() and sum.done < len(waiting):
            wait_for_end(job.lifetime)
        if sum.stopped == TAKEN or job.lifetime.remaining() <= 0:
            raise CallEnded("The run was ended before all was asked.")
        job.progress(so_far(sum, waiting))
        return result(sum, len(every), len(every) - len(waiting))

    def _work(self, waiting: Sequence[Question], job: Context, sum: Sum) -> None:
        """Ask the questions, some at a time, telling how far it is."""
        feed, end = Feed(waiting), self._clock() + SHARE * job.lifetime.remaining()

        def ask() -> None:
            while not (sum.stopped or self._draining.is_set() or job.lifetime.ended or self._clock() >= end):
                if (question := feed.next()) is None:
                    return
                self._ask(question, job, sum)

        with ThreadPoolExecutor(self._concurrency, "warm") as pool:
            asked = [pool.submit(ask) for _ in range(self._concurrency)]
            while wait(asked, LOOK).not_done:
                if not job.progress(so_far(sum, waiting)):
                    sum.stopped = TAKEN
        for each in asked:
            each.result()

    def _ask(self, question: Question, job: Context, sum: Sum) -> None:
        """Ask one question, again if nobody worked on it, and note what came of it."""
        wanted = job.arguments
        if question.wrong is not None:
            return sum.went_wrong(question.number, question.wrong)
        for number in range(1, TRIES + 1):
            try:
                with job.lifetime.part(self._tasks.timeout(wanted["task"])) as life:
                    told = self._answer(wanted, question.wanted, caller_of(job, life))
            except LlmApiError as error:
                over = job.lifetime.remaining() <= 0
                if number < TRIES and error.retryable and not error.in_doubt and not over:
                    self._sleep(pause(number, error), job.lifetime)
                    continue
                return None if over else sum.went_wrong(question.number, error)
            return sum.was_kept() if told is None else sum.answered(told)

    def _answer(self, wanted: Mapping[str, Any], request: Json, caller: Caller) -> Json | None:
        """Return the answer to a request; None if there is one that need not be asked for."""
        task, cache = wanted["task"], {**request.get("cache", {}), "mode": "use"}
        if wanted.get("refresh"):
            age = self._lookup.age(task, {**request, "cache": cache}, caller)
            since = (self._now() - EPOCH).total_seconds() - float(wanted["since"])
            if age is not None and age < since:
                return None
            cache["mode"] = "refresh"
        return self._tasks.answer(task, {**request, "cache": cache}, caller)


class Feed:
    """Gives out questions, each once, to several threads."""

    def __init__(self, questions: Iterable[Question]) -> None:
        self._left, self._lock = iter(questions), threading.Lock()

    def next(self) -> Question | None:
        """Return the next one; None: there is none."""
        with self._lock:
            return next(self._left, None)


def caller_of(job: Context, life: Lifetime) -> Caller:
    """Return who asks: who put the job, under an id of the question's own."""
    payer = Payer(**job.arguments.get("payer", {}))
    return Caller(job.tenant, new_id("req"), life, payer=payer, priority=job.priority)


def wait_for_end(lifetime: Lifetime) -> None:
    """Wait until the run is ended from outside: only then is its job handed on without a try lost."""
    ended = threading.Event()
    forget = lifetime.on_end(ended.set)
    ended.wait(lifetime.remaining())
    forget()


def so_far(sum: Sum, waiting: Sequence[Question]) -> Json:
    """Return how far a job is."""
    return {"done": sum.done, "total": len(waiting), "unit": "questions"}


def result(sum: Sum, total: int, twice: int) -> Json:
    """Return what a job's result says."""
    cost = None if sum.cost is None else format(sum.cost.normalize(), "f")
    return {
        "questions": total,
        "repeated": twice,
        "kept": sum.kept,
        "asked": sum.asked,
        "failed": sum.failed,
        "left": total - twice - sum.done,
        "stopped": sum.stopped or None,
        "cost": {"amount": cost, "currency": "USD"},
        "errors": sorted(sum.errors, key=lambda each: int(each["line"]))[:TOLD],
    }
