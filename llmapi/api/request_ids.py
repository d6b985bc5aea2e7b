"""A request id is worked on once: who sends it again gets the same answer, and nothing is paid twice.

Known to this process only, for a day.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import TTLCache

from llmapi.core.clock import Monotonic, monotonic
from llmapi.core.errors import DuplicateRequestId

DAY = 86_400.0
ROOM = 32 * 1_048_576  # bytes of answers
ROW = 256  # bytes that keeping one takes beside its answer

Name = tuple[str, str]  # tenant and request id


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer that a body got; `asked` is the body's fingerprint."""

    asked: str
    answer: bytes


class RequestIds:
    """The ids of requests under way and of those that were answered; safe for threads.

    ttl: seconds an answer is remembered; room: bytes of answers kept, the oldest go first
    """

    def __init__(self, ttl: float = DAY, room: int = ROOM, clock: Monotonic = monotonic) -> None:
        self._lock = threading.Lock()
        self._running: set[Name] = set()
        self._room = room
        self._answered: TTLCache[Name, Answered] = TTLCache(room, ttl, timer=clock, getsizeof=size_of)

    def once(self, tenant: str, request_id: str, asked: str, work: Callable[[], bytes]) -> tuple[bytes, bool]:
        """Return the answer of `work`, and whether it is one given before; a failure frees the id.

        raises: DuplicateRequestId while the id is worked on, and for another body; whatever `work` raises
        """
        name = (tenant, request_id)
        if (known := self._begun(name, asked)) is not None:
            return known, True
        try:
            answer = work()
            self._keep(name, Answered(asked, answer))
        finally:
            with self._lock:
                self._running.discard(name)
        return answer, False

    def _begun(self, name: Name, asked: str) -> bytes | None:
        """Return the answer of an id already worked on; None: it is this caller's to work on."""
        with self._lock:
            known = self._answered.get(name)
            if known is not None and known.asked != asked:
                raise taken("this request id was used with another body")
            if known is None and name in self._running:
                raise taken("a request with this id is being worked on")
            if known is None:
                self._running.add(name)
        return None if known is None else known.answer

    def _keep(self, name: Name, answered: Answered) -> None:
        if size_of(answered) <= self._room:
            with self._lock:
                self._answered[name] = answered


def taken(why: str) -> DuplicateRequestId:
    return DuplicateRequestId(why, fields={"request_id": [why]})


def size_of(answered: Answered) -> int:
    """Return about how many bytes it takes to keep an answer."""
    return len(answered.answer) + ROW
