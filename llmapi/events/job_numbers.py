"""How much work waits, as the database has it: the same whichever worker is asked, so nothing is summed."""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from llmapi.core.clock import Monotonic, monotonic
from llmapi.core.errors import LlmApiError

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

log = logging.getLogger(__name__)
FRESH = 1.0  # seconds for which one look is good


class Depths(Protocol):
    """What jobs/registry.py knows of its queue; `oldest` is in seconds."""

    @property
    def queued(self) -> int: ...
    @property
    def running(self) -> int: ...
    @property
    def dead(self) -> int: ...
    @property
    def oldest(self) -> float: ...


class JobNumbers:
    """Gauges of the job queue, looked up when they are shown, once a second at most."""

    def __init__(self, look: Callable[[], Depths], clock: Monotonic = monotonic) -> None:
        self._look = look
        self._clock = clock
        self._lock = threading.Lock()
        self._known: Depths | None = None
        self._until = 0.0

    def collect(self) -> Iterator["Metric"]:
        """Yield them as prometheus_client's families; none when the database does not answer."""
        from prometheus_client.metrics_core import GaugeMetricFamily

        depths = self._depths()
        if depths is None:
            return
        waiting = GaugeMetricFamily("llmapi_job_queue", "Jobs that have not ended well or badly", labels=["status"])
        for status in ("queued", "running", "dead"):
            waiting.add_metric([status], getattr(depths, status))
        yield waiting
        yield GaugeMetricFamily(
            "llmapi_job_oldest_seconds", "Seconds the job has waited that has waited longest", depths.oldest
        )

    def _depths(self) -> Depths | None:
        with self._lock:
            if self._clock() >= self._until:
                try:
                    self._known = self._look()
                except LlmApiError as error:
                    log.warning("the job queue cannot be measured: %s", error)
                    self._known = None
                self._until = self._clock() + FRESH
            return self._known
