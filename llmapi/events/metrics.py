"""Numbers for Prometheus: what was asked, what it took, what it cost; by labels of which there are only so many."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from llmapi.core.clock import utc_now
from llmapi.core.contracts import AnswerCache
from llmapi.core.events import KEPT, BreakerChanged, CallFinished, JobChanged
from llmapi.core.money import NANOS_A_DOLLAR
from llmapi.events.job_numbers import Depths, JobNumbers
from llmapi.events.processes import forget_process, share_numbers

if TYPE_CHECKING:
    import prometheus_client
    from prometheus_client.metrics_core import Metric

__all__ = ["Metrics", "forget_process"]

MOST_MODELS: Final = 200  # with series of their own
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER: Final = "other"
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
LOOKUPS: Final = "llmapi_cache_requests_total"
HITS: Final = frozenset({"hit", "semantic"})


@dataclass(frozen=True, slots=True)
class _Calls:
    """The series that calls of one kind go to, found once: finding them costs more than counting."""

    count: Callable[[], None]
    lookup: Callable[[], None] | None  # None: the cache was not asked
    seconds: Callable[[float], None]


class Metrics:
    """A sink of CallFinished, BreakerChanged and JobChanged, told of each HTTP request by the front door.

    The registry is its own, so that two applications in one process do not mix. With several workers the numbers lie
    in files under `folder`, and a scrape of any worker shows the sum of all.
    """

    def __init__(
        self,
        cache: AnswerCache | None = None,
        *,
        workers: int = 1,
        folder: Path | None = None,
        models: Iterable[str] = (),
    ) -> None:
        directory = folder / "metrics" if folder is not None and workers > 1 else None
        if directory is not None:
            share_numbers(directory)
        self.since = utc_now()
        self._names = set(models)
        self._shared = directory is not None
        self._queue: Callable[[], Iterable[Metric]] = tuple
        self._gates: Callable[[], Iterable[Mapping[str, Any]]] = tuple
        self._cache = cache
        self._counted: dict[str, int] = {}
        self._lock = threading.Lock()
        self._calls: dict[tuple[str, ...], _Calls] = {}
        shelf = _Shelf()
        self._declare(shelf)
        self._view = _WithHitRatio(shelf.collect_of(directory), lambda: self._queue())

    def __call__(self, event: Any) -> None:
        """Count what happened."""
        if isinstance(event, CallFinished):
            self._call(event)
        elif isinstance(event, JobChanged):
            self._jobs.labels(event.kind, event.status).inc()
            if event.status == "running" and event.attempt > 1:
                self._job_retries.labels(event.kind).inc()
            if event.duration is not None:
                self._job_seconds.labels(event.kind).observe(event.duration)
        elif isinstance(event, BreakerChanged):
            who = (event.provider, self._known(event.model))
            self._breaker_changes.labels(*who, event.state).inc()
            self._breaker_open.labels(*who).set(event.state != "closed")

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an HTTP request; `route` is the rule that matched ("/v1/jobs/<id>"), never the address asked for."""
        verb = method if method in METHODS else OTHER
        self._requests.labels(route, verb, str(status)).inc()
        self._request_seconds.labels(route, verb).observe(seconds)

    def watch_gates(self, states: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        """Show how many calls are under way; `states` returns a row for each provider: provider, in_flight, limit."""
        self._gates = states

    def watch_jobs(self, depths: Callable[[], Depths]) -> None:
        """Show how much work waits; `depths` looks it up."""
        self._queue = JobNumbers(depths).collect

    def render(self) -> tuple[bytes, str]:
        """Return the numbers in Prometheus' text format, and that format's content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        self._look_around()
        return generate_latest(self._view), CONTENT_TYPE_LATEST

    def families(self) -> list["Metric"]:
        """Return the numbers as prometheus_client's families, of all workers together."""
        self._look_around()
        return list(self._view.collect())

    def _declare(self, new: "_Shelf") -> None:
        self._finished = new.counter("calls", "Calls that ended", "task", "provider", "model", "status", "cache")
        self._lookups = new.counter("cache_requests", "Calls that might be answered from the cache", "status")
        self._tokens = new.counter("tokens", "Tokens providers are paid for", "provider", "model", "kind")
        self._cost = new.counter("cost_usd", "What the calls cost, in US dollars", "provider", "model")
        self._unpriced = new.counter("unpriced_calls", "Calls whose price nobody knows", "provider", "model")
        self._attempts = new.counter("attempts", "Times a provider was asked", "provider", "model", "status")
        self._retries = new.counter("retries", "Attempts after the first of a call", "task")
        self._seconds = new.seconds("call_seconds", "From entering the gateway to the last chunk", "task", "cache")
        self._provider_seconds = new.seconds("provider_seconds", "Seconds of a call spent waiting for it", "provider")
        self._entries = new.gauge("cache_entries", "Answers kept")
        self._capacity = new.gauge("cache_capacity", "Answers there is room for")
        self._kept_bytes = new.gauge("cache_bytes", "Bytes of the answers kept")
        self._grown = {  # of the cache's own counts
            "evictions": new.counter("cache_evictions", "Answers that made room for others"),
            "shared_hits": new.counter("cache_shared_hits", "Answers found in the tier all processes share"),
            "shared_misses": new.counter("cache_shared_misses", "Answers looked for there in vain"),
        }
        self._in_flight = new.gauge("in_flight", "Calls under way", "provider")
        self._in_flight_limit = new.gauge("in_flight_limit", "Calls that may be under way", "provider")
        self._breaker_changes = new.counter("breaker_changes", "States entered", "provider", "model", "state")
        self._breaker_open = new.gauge("breaker_open", "1 while not closed", "provider", "model", among="livemax")
        self._jobs = new.counter("jobs", "Jobs that entered a status", "kind", "status")
        self._job_retries = new.counter("job_retries", "Attempts after the first of a job", "kind")
        self._job_seconds = new.seconds("job_seconds", "Seconds a job ran", "kind")
        self._requests = new.counter("http_requests", "HTTP requests", "route", "method", "status")
        self._request_seconds = new.seconds("http_request_seconds", "Until the answer began", "route", "method")

    def _call(self, event: CallFinished) -> None:
        model = self._name(event)
        kind = (event.task, event.provider, model, event.status, event.cache)
        series = self._calls.get(kind) or self._found(kind)
        series.count()
        series.seconds(event.duration)
        if series.lookup is not None:
            series.lookup()
        if event.cache not in KEPT:
            self._asked(event, model)

    def _found(self, kind: tuple[str, ...]) -> _Calls:
        task, _, _, _, cache = kind
        found = _Calls(
            self._finished.labels(*kind).inc,
            None if cache == "bypass" else self._lookups.labels(cache).inc,
            self._seconds.labels(task, cache).observe,
        )
        return self._calls.setdefault(kind, found)

    def _asked(self, event: CallFinished, model: str) -> None:
        """Count what only a call has that reached a provider."""
        for attempt in event.attempts:
            self._attempts.labels(attempt.provider, self._known(attempt.model), attempt.status).inc()
        if len(event.attempts) > 1:
            self._retries.labels(event.task).inc(len(event.attempts) - 1)
        if event.attempts:
            self._provider_seconds.labels(event.provider).observe(event.provider_time)
        self._spent(event, model)
        self._look_at_the_cache()
        if self._shared:  # another worker may be scraped, and it cannot look into this one
            self._look_at_the_gates()

    def _spent(self, event: CallFinished, model: str) -> None:
        who, billed = (event.provider, model), event.billed
        for kind, number in (
            ("input", billed.input_tokens),
            ("output", billed.output_tokens),
            ("cached", billed.cached_tokens),
            ("reasoning", billed.reasoning_tokens),
        ):
            if number:
                self._tokens.labels(*who, kind).inc(number)
        if event.cost.nanos is None:
            self._unpriced.labels(*who).inc()
        elif event.cost.nanos:
            self._cost.labels(*who).inc(event.cost.nanos / NANOS_A_DOLLAR)

    def _name(self, event: CallFinished) -> str:
        """Return the model's label: a model earns series of its own by answering, for anybody can make up a name."""
        if event.status == "ok" and len(self._names) < MOST_MODELS:
            self._names.add(event.model)
        return self._known(event.model)

    def _known(self, model: str) -> str:
        return model if model in self._names or not model else OTHER

    def _look_around(self) -> None:
        self._look_at_the_cache()
        self._look_at_the_gates()

    def _look_at_the_gates(self) -> None:
        for row in self._gates():
            self._in_flight.labels(row["provider"]).set(row["in_flight"])
            self._in_flight_limit.labels(row["provider"]).set(row["limit"])

    def _look_at_the_cache(self) -> None:
        if self._cache is None:
            return
        with self._lock:
            stats = self._cache.stats()
            self._entries.set(stats["entries"])
            self._capacity.set(stats["capacity"])
            self._kept_bytes.set(stats.get("bytes", 0))
            for name, counter in self._grown.items():
                counter.inc(max(0, stats.get(name, 0) - self._counted.get(name, 0)))
            self._counted = dict(stats)


class _Shelf:
    """Where an application's numbers stand. prometheus_client is imported here, and not before (processes.py)."""

    def __init__(self) -> None:
        import prometheus_client

        self._make = prometheus_client
        self._registry = prometheus_client.CollectorRegistry()

    def counter(self, name: str, meaning: str, *labels: str) -> "prometheus_client.Counter":
        return self._make.Counter(f"llmapi_{name}", meaning, labels, registry=self._registry)

    def seconds(self, name: str, meaning: str, *labels: str) -> "prometheus_client.Histogram":
        return self._make.Histogram(f"llmapi_{name}", meaning, labels, buckets=SECONDS, registry=self._registry)

    def gauge(
        self, name: str, meaning: str, *labels: str, among: Literal["livesum", "livemax"] = "livesum"
    ) -> "prometheus_client.Gauge":
        """Return a gauge; `among` says what several workers show together."""
        own = self._registry
        return self._make.Gauge(f"llmapi_{name}", meaning, labels, registry=own, multiprocess_mode=among)

    def collect_of(self, directory: Path | None) -> Callable[[], Iterable["Metric"]]:
        """Return what collects the numbers: of this process and about it, or of all that write to a directory."""
        if directory is None:
            self._make.ProcessCollector(registry=self._registry)
            return self._registry.collect
        from prometheus_client.multiprocess import MultiProcessCollector

        shared = MultiProcessCollector(None, str(directory))  # type: ignore[no-untyped-call]
        return shared.collect


class _WithHitRatio:
    """All numbers, and one made of them: the share of lookups that the cache answered, of all workers together.

    queue: those of the job queue, which every worker knows alike
    """

    def __init__(self, collect: Callable[[], Iterable["Metric"]], queue: Callable[[], Iterable["Metric"]]) -> None:
        self._collect = collect
        self._queue = queue

    def collect(self) -> Iterator["Metric"]:
        from prometheus_client.metrics_core import GaugeMetricFamily

        asked, answered = 0.0, 0.0
        for family in self._collect():
            for sample in family.samples:
                if sample.name == LOOKUPS:
                    asked += sample.value
                    answered += sample.value if sample.labels["status"] in HITS else 0.0
            yield family
        share = answered / asked if asked else 0.0
        yield GaugeMetricFamily("llmapi_cache_hit_ratio", "Share of lookups the cache answered", share)
        yield from self._queue()
