"""Many threads, one connection: who finds it free works for all who wait ("flat combining", Hendler et al. 2010).

Hundreds of threads that take turns at a lock hand the interpreter around for each statement; here one of them does the
statements of all in one transaction, and the others sleep once.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class _Errand(Generic[T, R]):
    __slots__ = ("asked", "woken", "answer", "failure", "done")

    def __init__(self, asked: T) -> None:
        self.asked = asked
        self.woken = threading.Event()
        self.answer: R | None = None
        self.failure: BaseException | None = None
        self.done = False

    def result(self) -> Any:
        if self.failure is not None:
            raise self.failure
        return self.answer


class Combining(Generic[T, R]):
    """Does what threads ask for in batches; `work` returns an answer for each, in order, or raises for all."""

    def __init__(self, work: Callable[[Sequence[T]], Sequence[R]]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._waiting: list[_Errand[T, R]] = []
        self._busy = False

    def do(self, asked: T, patience: float) -> R:
        """Return the answer; raises what `work` raised, or TimeoutError after `patience` seconds without a turn."""
        errand: _Errand[T, R] = _Errand(asked)
        with self._lock:
            self._waiting.append(errand)
            leads, self._busy = not self._busy, True
        if not leads and not errand.woken.wait(patience) and self._gave_up(errand):
            raise TimeoutError("it was not this thread's turn in time")
        if not errand.done:
            self._lead()
        return errand.result()  # type: ignore[no-any-return]

    def _gave_up(self, errand: _Errand[T, R]) -> bool:
        """Leave the row; False when somebody took the errand up in this very moment."""
        with self._lock:
            if errand.woken.is_set():
                return False
            if errand in self._waiting:
                self._waiting.remove(errand)
                return True
        errand.woken.wait()
        return False

    def _lead(self) -> None:
        """Do the errands of all who wait, one's own among them, and hand on to the first of those who came since."""
        with self._lock:
            batch, self._waiting = self._waiting, []
        try:
            answers = self._work([errand.asked for errand in batch])
            for errand, answer in zip(batch, answers, strict=True):
                errand.answer = answer
        except BaseException as failure:
            for errand in batch:
                errand.failure = failure
        with self._lock:
            heir = self._waiting[0] if self._waiting else None
            self._busy = heir is not None
            if heir is not None:
                heir.woken.set()
        for errand in batch:
            errand.done = True
            errand.woken.set()
