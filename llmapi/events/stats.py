"""The numbers of metrics.py for people and small tools: one JSON object, of all workers together."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from llmapi.core.clock import rfc3339
from llmapi.core.money import NANOS_A_DOLLAR, dollars

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric
    from prometheus_client.samples import Sample

Json = dict[str, Any]
SHARES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
KINDS: Final = ("input", "output", "cached", "reasoning")
HITS: Final = ("hit", "semantic")
GOOD: Final = ("ok", "abandoned")  # ends of a call that are no failures
MODEL: Final = ("provider", "model")


def stats_of(families: Iterable["Metric"], *, since: datetime, now: datetime) -> Json:
    """Return all that was counted since a moment; money as decimal strings in USD, spans in milliseconds."""
    numbers = Numbers(families)
    ends = numbers.by("llmapi_calls_total", "status")
    return {
        "since": rfc3339(since),
        "uptime_s": round((now - since).total_seconds(), 3),
        "requests": requests_of(numbers),
        "latency_ms": latency_of(numbers, "llmapi_http_request_seconds"),
        "calls": {
            "total": sum(ends.values()),
            "by_task": numbers.by("llmapi_calls_total", "task"),
            "by_status": ends,
            "latency_ms": latency_of(numbers, "llmapi_call_seconds"),
        },
        "cache": cache_of(numbers),
        "tokens": tokens_of(numbers),
        "cost_usd": cost_of(numbers),
        "errors": {code: number for code, number in ends.items() if code not in GOOD},
        "retries": numbers.total("llmapi_retries_total"),
        "attempts": numbers.by("llmapi_attempts_total", "status"),
        "providers": providers_of(numbers),
        "jobs": numbers.by("llmapi_jobs_total", "status"),
        "job_queue": job_queue_of(numbers),
    }


class Numbers:
    """Samples by their name, added up over the labels nobody asks for."""

    def __init__(self, families: Iterable["Metric"]) -> None:
        self._samples: dict[str, list[Sample]] = defaultdict(list)
        for family in families:
            for sample in family.samples:
                self._samples[sample.name].append(sample)

    def sums(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Return the sum of a number for each combination of some labels' values, in their order."""
        found: dict[tuple[str, ...], float] = defaultdict(float)
        for sample in self._samples.get(name, ()):
            found[tuple(sample.labels[label] for label in labels)] += sample.value
        return dict(sorted(found.items()))

    def by(self, name: str, label: str) -> dict[str, int]:
        """Return the counts of a number by one label."""
        return {key[0]: round(value) for key, value in self.sums(name, label).items()}

    def total(self, name: str) -> int:
        """Return a count over all labels."""
        return round(self.sums(name).get((), 0.0))

    def seconds(self, name: str) -> float:
        """Return a sum over all labels."""
        return self.sums(name).get((), 0.0)


def requests_of(numbers: Numbers) -> Json:
    statuses: dict[str, int] = defaultdict(int)
    for status, number in numbers.by("llmapi_http_requests_total", "status").items():
        statuses[f"{status[0]}xx"] += number
    routes = numbers.by("llmapi_http_requests_total", "route")
    return {"total": sum(routes.values()), "by_status": dict(statuses), "by_route": routes}


def latency_of(numbers: Numbers, histogram: str) -> Json:
    """Return the mean and percentiles of a histogram in milliseconds; None before the first."""
    buckets = sorted((float(key[0]), value) for key, value in numbers.sums(f"{histogram}_bucket", "le").items())
    count = numbers.total(f"{histogram}_count")
    mean = numbers.seconds(f"{histogram}_sum") / count if count else None
    spans = {"mean": mean} | {name: quantile(buckets, share) for name, share in SHARES.items()}
    told = {name: None if span is None else round(span * 1000, 3) for name, span in spans.items()}
    return {"count": count, **told, "estimated": list(SHARES)}


def quantile(buckets: Sequence[tuple[float, float]], share: float) -> float | None:
    """Return the value below which a share of all observations lies, as near as their buckets tell.

    buckets: (upper bound, observations up to it), by bound; the last bound is infinite
    returns: a point between two bounds, as if observations lay evenly there; at most the last finite bound
    source: Prometheus' histogram_quantile
    """
    rank = share * buckets[-1][1] if buckets else 0.0
    low = below = 0.0
    for bound, up_to in buckets:
        if rank and up_to >= rank:
            return low if math.isinf(bound) else low + (bound - low) * (rank - below) / (up_to - below)
        low, below = bound, up_to
    return None


def job_queue_of(numbers: Numbers) -> Json:
    """Return how much work waits now, and how long jobs ran."""
    depths = numbers.by("llmapi_job_queue", "status")
    return {
        **{status: depths.get(status, 0) for status in ("queued", "running", "dead")},
        "oldest_s": round(numbers.seconds("llmapi_job_oldest_seconds"), 3),
        "retries": numbers.total("llmapi_job_retries_total"),
        "run_ms": latency_of(numbers, "llmapi_job_seconds"),
    }


def cache_of(numbers: Numbers) -> Json:
    """Return what the cache did; `misses` were answered by a model, `coalesced` share such an answer."""
    asked = numbers.by("llmapi_calls_total", "cache")
    hits = sum(asked.get(word, 0) for word in HITS)
    lookups = sum(numbers.by("llmapi_cache_requests_total", "status").values())
    return {
        "hits": hits,
        "misses": asked.get("miss", 0),
        "coalesced": asked.get("coalesced", 0),
        "bypass": asked.get("bypass", 0),
        "hit_ratio": round(hits / lookups, 4) if lookups else 0.0,
        "entries": numbers.total("llmapi_cache_entries"),
    }


def tokens_of(numbers: Numbers) -> Json:
    rows: dict[tuple[str, ...], Json] = {}
    for (*who, kind), number in numbers.sums("llmapi_tokens_total", *MODEL, "kind").items():
        row = rows.setdefault(tuple(who), {**dict(zip(MODEL, who, strict=True)), **dict.fromkeys(KINDS, 0)})
        row[kind] = round(number)
    kinds = numbers.by("llmapi_tokens_total", "kind")
    return {kind: kinds.get(kind, 0) for kind in KINDS} | {"by_model": list(rows.values())}


def cost_of(numbers: Numbers) -> Json:
    """Return what was spent; calls whose price nobody knows are counted beside it, not taken for free."""
    spent = {who: round(value * NANOS_A_DOLLAR) for who, value in numbers.sums("llmapi_cost_usd_total", *MODEL).items()}
    unpriced = numbers.sums("llmapi_unpriced_calls_total", *MODEL)
    rows = [
        {
            **dict(zip(MODEL, who, strict=True)),
            "amount": dollars(spent.get(who, 0)),
            "unpriced_calls": round(unpriced.get(who, 0)),
        }
        for who in sorted({*spent, *unpriced})
    ]
    calls = round(sum(unpriced.values()))
    return {"total": dollars(sum(spent.values())), "unpriced_calls": calls, "by_model": rows}


def providers_of(numbers: Numbers) -> list[Json]:
    """Return how often each provider was asked, and how often in vain."""
    rows: dict[str, Json] = {}
    for (provider, status), number in numbers.sums("llmapi_attempts_total", "provider", "status").items():
        row = rows.setdefault(provider, {"provider": provider, "calls": 0, "failures": 0})
        row["calls"] += round(number)
        row["failures"] += 0 if status == "ok" else round(number)
    return list(rows.values())
