"""Labels for the cache by meaning: whether a fresh answer means what a kept one means, found out behind the caller."""

import logging
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final, Protocol

from llmapi.core.calls import Call, Completion
from llmapi.core.clock import Monotonic, monotonic

log = logging.getLogger(__name__)

Pair = tuple[str, str]  # a question and its answer
WAITING: Final = 32  # comparisons under way or waiting; beyond, an answer stays without a label
AT_ONCE: Final = 2
WINDOW: Final = 1000  # requests of a tenant over which the judge's share holds
EVERY: Final = 30.0  # seconds between two times that what was learned is kept
TENANTS: Final = 10_000


class Judging(Protocol):
    """Says whether two answers mean the same (tasks/judge.py)."""

    def __call__(self, call: Call, kept: Pair, fresh: Pair) -> bool | None: ...

    def close(self) -> None:
        """End what is being asked."""
        ...


class Share:
    """At most a share of each tenant's requests: over all it had, the last WINDOW of them weighing most."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._lock = threading.Lock()
        self._counts: dict[str, list[float]] = {}  # tenant -> requests, taken

    def count(self, tenant: str) -> None:
        """Note a request."""
        with self._lock:
            counts = self._counts.setdefault(tenant, [0.0, 0.0])
            counts[0] += 1
            if counts[0] >= 2 * WINDOW:
                counts[:] = [each / 2 for each in counts]
            if len(self._counts) > TENANTS:
                del self._counts[next(iter(self._counts))]

    def take(self, tenant: str) -> bool:
        """Say whether one more fits into the share, and count it."""
        with self._lock:
            counts = self._counts.get(tenant, [0.0, 0.0])
            if counts[1] + 1 > self._share * counts[0]:
                return False
            counts[1] += 1
            return True


class Learning:
    """Compares answers on few threads, which begin with the first comparison; what does not fit stays unknown.

    judge: asks a model; None: answers are equal when their words are
    share: most judge calls as a share of a tenant's requests; 0: none
    keep: keeps what was learned; called now and then
    """

    def __init__(
        self,
        judge: Judging | None,
        share: float,
        keep: Callable[[], None],
        clock: Monotonic = monotonic,
    ) -> None:
        self._judge = judge if share > 0 else None
        self._share, self._keep, self._clock = Share(share), keep, clock
        self._room = threading.BoundedSemaphore(WAITING)
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="by-meaning")
        self._due = clock() + EVERY
        self._counting = threading.Lock()
        self._judged: Counter[str] = Counter()

    def judged(self, tenant: str | None) -> int:
        """Return how often a judge was asked for a tenant; None: for all."""
        with self._counting:
            return self._judged.total() if tenant is None else self._judged[tenant]

    def asked(self, call: Call) -> None:
        """Note a request by meaning."""
        self._share.count(call.tenant)
        if self._clock() >= self._due:
            self._due = self._clock() + EVERY
            self._send(self._keep)

    def compare(self, call: Call, kept: Pair, fresh: Pair, tell: Callable[[bool | None], None]) -> None:
        """Tell whether two answers mean the same, at once where no model need be asked; None: not known.

        Equal words are counted as a judge's call although none is made: were they free, what is learned when the share
        is used up would be the good news alone.
        """
        equal = plain(kept[1]) == plain(fresh[1])
        if self._judge is None or call.provider_key:  # the owner of a key asked for an answer, not for a comparison
            tell(equal)
        elif not self._share.take(call.tenant):
            tell(None)
        elif equal:
            tell(True)
        elif not self._send(partial(self._ask, self._judge, call, kept, fresh, tell)):
            tell(None)

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._judge is not None:
            self._judge.close()

    def _ask(
        self, judge: Judging, call: Call, kept: Pair, fresh: Pair, tell: Callable[[bool | None], None]
    ) -> None:
        with self._counting:
            self._judged[call.tenant] += 1
        tell(judge(call, kept, fresh))

    def _send(self, work: Callable[[], None]) -> bool:
        """Have something done on another thread; returns whether there was room for it."""
        if not self._room.acquire(blocking=False):
            return False
        try:
            self._pool.submit(work).add_done_callback(self._done)
        except RuntimeError:  # closed
            self._room.release()
            return False
        return True

    def _done(self, future: Future[None]) -> None:
        self._room.release()
        if not future.cancelled() and (error := future.exception()) is not None:
            log.error("an answer by meaning was not learned from", exc_info=error)


def plain(text: str) -> str:
    """Return a text without what does not change its meaning: case, spaces, a full stop."""
    return " ".join(text.casefold().split()).strip(".!\"'` ")


def label_of(answer: Completion) -> str:
    """Return a classification's answer as the name of its cluster."""
    return plain(answer.text)
