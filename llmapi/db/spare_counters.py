"""What counts while the shared counters are away: this process alone, with its share of each limit.

A limit of N is then N / workers, at least 1, in each process; what it let pass before is counted in. While they are
away one hit a second tries them again, the others do not wait: `rest` seconds after their return all is as before.
"""

import logging
import threading
from collections.abc import Sequence

from llmapi.core.clock import Monotonic, monotonic
from llmapi.db.process_counters import ProcessCounters
from llmapi.db.sliding import Charge, CountersAway, Sliding, Taken

log = logging.getLogger(__name__)


class SteadyCounters:
    """Counts at `shared`, or here while that is away; never raises CountersAway."""

    def __init__(
        self,
        shared: Sliding,
        *,
        workers: int = 1,  # processes that share the counts, of this machine
        rest: float = 1.0,  # seconds between two tries while they are away
        spare: ProcessCounters | None = None,
        clock: Monotonic = monotonic,
    ) -> None:
        self._shared = shared
        self._workers = workers
        self._rest = rest
        self._spare = spare or ProcessCounters()
        self._clock = clock
        self._lock = threading.Lock()
        self._away_until: float | None = None  # None: it is there

    @property
    def away(self) -> bool:
        """Say whether this process counts alone at the moment."""
        return self._away_until is not None

    def take(self, charges: Sequence[Charge]) -> Taken:
        """Count a request at all its limits if each has room."""
        if self._away_until is None or self._may_try():
            try:
                taken = self._shared.take(charges)
            except CountersAway as error:
                self._lost(error)
            else:
                if self._away_until is not None:
                    self._found()
                if taken.counted:
                    self._spare.note(charges)
                return taken
        shares = [charge._replace(limit=max(1, charge.limit // self._workers)) for charge in charges]
        return self._spare.take(shares)

    def _may_try(self) -> bool:
        """Say yes to one hit every `rest` seconds."""
        with self._lock:
            now = self._clock()
            if self._away_until is None or now >= self._away_until:
                self._away_until = now + self._rest
                return True
        return False

    def _lost(self, error: CountersAway) -> None:
        with self._lock:
            new, self._away_until = self._away_until is None, self._clock() + self._rest
        if new:
            log.warning("rate limits are counted by each process alone: %s", error)

    def _found(self) -> None:
        with self._lock:
            back, self._away_until = self._away_until is not None, None
        if back:
            log.warning("rate limits are counted together again")
