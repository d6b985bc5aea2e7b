"""The numbers for people, made from those for Prometheus."""

import json
import subprocess
import sys
from datetime import timedelta

import pytest

from llmapi.cache.memory import MemoryCache
from llmapi.core.calls import Attempt, Completion, Usage
from llmapi.core.events import JobChanged
from llmapi.core.money import FREE, UNPRICED, Cost
from llmapi.events.metrics import Metrics
from llmapi.events.stats import quantile, stats_of
from tests.events.conftest import a_finished_call
from tests.house.test_house import ROOT


@pytest.fixture
def metrics():
    return Metrics()


def stats(metrics):
    return stats_of(metrics.families(), since=metrics.since, now=metrics.since + timedelta(seconds=90))


def test_before_anything_happened_all_is_zero_and_nothing_is_made_up(metrics):
    told = stats(metrics)
    assert (told["requests"]["total"], told["calls"]["total"], told["retries"]) == (0, 0, 0)
    assert (told["latency_ms"]["mean"], told["latency_ms"]["p99"], told["cache"]["hit_ratio"]) == (None, None, 0.0)
    assert (told["tokens"]["input"], told["cost_usd"]["total"], told["errors"], told["jobs"]) == (0, "0", {}, {})
    assert told["uptime_s"] == 90.0
    assert told["since"].endswith("Z")


def test_requests_are_summed_by_class_and_by_route(metrics):
    for route, status in (("/a", 200), ("/a", 201), ("/a", 404), ("/b", 503)):
        metrics.request(route, "POST", status, 0.01)
    told = stats(metrics)["requests"]
    assert told == {"total": 4, "by_status": {"2xx": 2, "4xx": 1, "5xx": 1}, "by_route": {"/a": 3, "/b": 1}}


def test_latency_has_an_exact_mean_and_estimated_percentiles(metrics):
    for route, seconds in [("/a", 0.003)] * 95 + [("/b", 0.7)] * 5:
        metrics.request(route, "GET", 200, seconds)
    told = stats(metrics)["latency_ms"]
    assert told["count"] == 100
    assert told["mean"] == pytest.approx(0.95 * 3 + 0.05 * 700)
    assert 2.5 < told["p50"] < told["p95"] <= 5
    assert 500 < told["p99"] < 1000
    assert told["estimated"] == ["p50", "p95", "p99"]


BUCKETS = [(1.0, 50.0), (2.0, 100.0), (float("inf"), 100.0)]


@pytest.mark.parametrize(
    ("buckets", "share", "value"),
    [
        (BUCKETS, 0.5, 1.0),
        (BUCKETS, 0.25, 0.5),
        (BUCKETS, 0.95, 1.9),
        ([(1.0, 0.0), (2.0, 4.0), (float("inf"), 4.0)], 0.5, 1.5),
        ([(1.0, 0.0), (float("inf"), 9.0)], 0.5, 1.0),
        ([(1.0, 0.0), (float("inf"), 0.0)], 0.5, None),
        ([], 0.5, None),
    ],
)
def test_a_percentile_lies_evenly_within_its_bucket_and_never_beyond_the_last_bound(buckets, share, value):
    assert quantile(buckets, share) == (None if value is None else pytest.approx(value))


def test_calls_are_told_by_task_and_by_how_they_ended(metrics):
    metrics(a_finished_call())
    metrics(a_finished_call(task="code", status="provider_timeout"))
    metrics(a_finished_call(status="abandoned"))
    told = stats(metrics)
    assert told["calls"]["by_task"] == {"code": 1, "text": 2}
    assert told["calls"]["by_status"] == {"abandoned": 1, "ok": 1, "provider_timeout": 1}
    assert told["calls"]["latency_ms"]["mean"] == pytest.approx(300)
    assert told["errors"] == {"provider_timeout": 1}


def test_the_cache_is_told_in_every_outcome():
    cache = MemoryCache(4)
    cache.put("k", Completion(), provider="p", model="m")
    metrics = Metrics(cache)
    for status in ("hit", "hit", "semantic", "miss", "coalesced", "bypass"):
        metrics(a_finished_call(cache=status, attempts=(), cost=FREE))
    assert stats(metrics)["cache"] == {
        "hits": 3,
        "misses": 1,
        "coalesced": 1,
        "bypass": 1,
        "hit_ratio": 0.6,
        "entries": 1,
    }


def test_tokens_and_money_are_told_in_all_and_by_model(metrics):
    metrics(a_finished_call())
    metrics(a_finished_call(model="pro", usage=Usage(10, 1), cost=Cost(1_234, "priced")))
    metrics(a_finished_call(provider="vllm", model="own", usage=Usage(7), cost=UNPRICED, attempts=()))
    told = stats(metrics)
    assert [told["tokens"][kind] for kind in ("input", "output", "cached", "reasoning")] == [117, 21, 10, 5]
    flash, pro, own = told["tokens"]["by_model"]
    assert (flash["model"], flash["input"], flash["reasoning"]) == ("flash", 100, 5)
    assert (pro["model"], pro["input"], pro["cached"]) == ("pro", 10, 0)
    assert (own["provider"], own["input"]) == ("vllm", 7)
    assert (told["cost_usd"]["total"], told["cost_usd"]["unpriced_calls"]) == ("0.001501234", 1)
    assert [row["amount"] for row in told["cost_usd"]["by_model"]] == ["0.0015", "0.000001234", "0"]
    assert told["cost_usd"]["by_model"][2]["unpriced_calls"] == 1


def test_retries_attempts_and_failures_of_each_provider_are_told(metrics):
    lost = Attempt("gemini", "flash", "provider_throttled")
    metrics(a_finished_call(attempts=(lost, lost, Attempt("openai", "mini", "ok")), provider="openai", model="mini"))
    told = stats(metrics)
    assert (told["retries"], told["attempts"]) == (2, {"ok": 1, "provider_throttled": 2})
    assert told["providers"] == [
        {"provider": "gemini", "calls": 2, "failures": 2},
        {"provider": "openai", "calls": 1, "failures": 0},
    ]


def test_jobs_are_told_by_the_status_they_entered(metrics):
    metrics(JobChanged("j", "acme", "task", "running", 1))
    metrics(JobChanged("j", "acme", "task", "succeeded", 1, 2.5))
    assert stats(metrics)["jobs"] == {"running": 1, "succeeded": 1}


WORKERS = """
import json, os, sys
from pathlib import Path
from llmapi.events.metrics import Metrics
from llmapi.events.stats import stats_of
from tests.events.conftest import a_finished_call

metrics = Metrics(workers=2, folder=Path(sys.argv[1]))  # before the fork, as gunicorn preloads it
for number in range(2):
    child = os.fork()
    if child == 0:
        for _ in range(number + 1):
            metrics(a_finished_call())
            metrics.request("/v1/x", "POST", 200, 0.01)
        os._exit(0)
    os.waitpid(child, 0)
print(json.dumps(stats_of(metrics.families(), since=metrics.since, now=metrics.since)))
"""


def test_one_worker_tells_the_sum_of_all(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", WORKERS, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert (told["requests"]["total"], told["calls"]["total"], told["tokens"]["input"]) == (3, 3, 300)
    assert (told["cost_usd"]["total"], told["latency_ms"]["count"]) == ("0.0045", 3)
    assert 5 < told["latency_ms"]["p95"] <= 10
