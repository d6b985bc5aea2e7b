"""Numbers for Prometheus, by labels of which there are only so many."""

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llmapi.cache.memory import MemoryCache
from llmapi.core.calls import Attempt, Completion, Usage
from llmapi.core.events import BreakerChanged, JobChanged
from llmapi.core.money import FREE, UNPRICED
from llmapi.events.metrics import MOST_MODELS, Metrics
from tests.events.conftest import a_finished_call

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def metrics():
    return Metrics()


def value(metrics, name, **labels):
    """Return the value of the series that has these labels, among others."""
    found = []
    for line in metrics.render()[0].decode().splitlines():
        series, _, number = line.rpartition(" ")
        if re.match(rf"{name}(\{{|$)", series) and all(f'{key}="{said}"' in series for key, said in labels.items()):
            found.append(float(number))
    assert len(found) == 1, f"{len(found)} series of {name} {labels}"
    return found[0]


def test_a_call_is_counted_with_its_tokens_its_cost_and_its_time(metrics):
    metrics(a_finished_call())
    labels = {"task": "text", "provider": "gemini", "model": "flash", "status": "ok", "cache": "miss"}
    assert value(metrics, "llmapi_calls_total", **labels) == 1
    kinds = ("input", "output", "cached", "reasoning")
    assert [value(metrics, "llmapi_tokens_total", kind=kind) for kind in kinds] == [100, 20, 10, 5]
    assert value(metrics, "llmapi_cost_usd_total", provider="gemini") == 0.0015
    assert value(metrics, "llmapi_call_seconds_sum", task="text", cache="miss") == 0.3
    assert value(metrics, "llmapi_provider_seconds_sum", provider="gemini") == 0.25


def test_attempts_and_retries_are_counted_and_their_tokens_too(metrics):
    lost = Attempt("gemini", "flash", "provider_throttled", 0.0, Usage(7))
    metrics(a_finished_call(attempts=(lost, lost, Attempt("gemini", "flash", "ok", 1.0))))
    assert value(metrics, "llmapi_attempts_total", status="provider_throttled") == 2
    assert value(metrics, "llmapi_attempts_total", status="ok") == 1
    assert value(metrics, "llmapi_retries_total", task="text") == 2
    assert value(metrics, "llmapi_tokens_total", kind="input") == 114


def test_a_call_without_a_price_is_counted_and_not_taken_for_free(metrics):
    metrics(a_finished_call(cost=UNPRICED))
    assert value(metrics, "llmapi_unpriced_calls_total", model="flash") == 1
    assert b"llmapi_cost_usd_total{" not in metrics.render()[0]


def test_the_hit_ratio_is_hits_among_lookups(metrics):
    assert value(metrics, "llmapi_cache_hit_ratio") == 0.0
    for cache in ("miss", "coalesced", "hit", "hit", "semantic", "bypass", "bypass", "bypass"):
        metrics(a_finished_call(cache=cache, attempts=(), cost=FREE))
    assert value(metrics, "llmapi_cache_requests_total", status="hit") == 2
    assert value(metrics, "llmapi_cache_hit_ratio") == 0.6


def test_kept_and_shared_answers_use_no_tokens(metrics):
    for cache in ("hit", "coalesced"):
        metrics(a_finished_call(cache=cache, attempts=(), cost=FREE))
    assert b"llmapi_tokens_total{" not in metrics.render()[0]


def test_the_cache_shows_its_entries_and_evictions():
    cache = MemoryCache(2)
    metrics = Metrics(cache)
    for key in "abc":
        cache.put(key, Completion(), provider="p", model="m")
    names = ("llmapi_cache_entries", "llmapi_cache_capacity", "llmapi_cache_evictions_total")
    assert [value(metrics, name) for name in names] == [2, 2, 1]
    assert value(metrics, "llmapi_cache_evictions_total") == 1  # counted once, looked at twice


def test_the_tier_all_processes_share_shows_its_hits():
    class Tiers(MemoryCache):
        def stats(self):
            return {**super().stats(), "shared_hits": 3, "shared_misses": 1}

    metrics = Metrics(Tiers(2))
    looks = [[value(metrics, f"llmapi_cache_shared_{what}_total") for what in ("hits", "misses")] for _ in range(2)]
    assert looks == [[3, 1]] * 2
    assert value(metrics, "llmapi_cache_bytes") == 0


def test_a_name_somebody_made_up_makes_no_series_but_a_known_or_answering_model_does():
    metrics = Metrics(models=["configured"])
    for model in ("made-up", "configured"):
        metrics(a_finished_call(status="provider_invalid", model=model, attempts=(Attempt("gemini", model, "x"),)))
    metrics(a_finished_call(model="answering"))
    body = metrics.render()[0].decode()
    assert set(re.findall(r'model="([^"]*)"', body)) == {"other", "configured", "answering"}


def test_there_is_an_end_to_series_even_if_every_name_answers(metrics):
    for number in range(MOST_MODELS + 50):
        metrics(a_finished_call(model=f"m{number}", attempts=()))
    body = metrics.render()[0].decode()
    assert len(set(re.findall(r'model="([^"]*)"', body))) == MOST_MODELS + 1


def test_requests_are_counted_by_route_and_odd_methods_together(metrics):
    for method in ("POST", "BREW", "WHEN"):
        metrics.request("/v1/classify", method, 200, 0.01)
    assert value(metrics, "llmapi_http_requests_total", method="POST", status="200") == 1
    assert value(metrics, "llmapi_http_requests_total", method="other") == 2
    assert value(metrics, "llmapi_http_request_seconds_count", route="/v1/classify", method="other") == 2


def test_jobs_are_counted_by_status_and_timed_when_they_end(metrics):
    metrics(JobChanged("j", "acme", "task", "running", 1))
    metrics(JobChanged("j", "acme", "task", "succeeded", 1, 2.5))
    assert value(metrics, "llmapi_jobs_total", status="running") == 1
    assert value(metrics, "llmapi_job_seconds_sum", kind="task") == 2.5


def test_a_breaker_is_shown_open_until_it_is_closed():
    metrics = Metrics(models=["flash"])
    shown = []
    for state in ("open", "half_open", "open", "closed"):
        metrics(BreakerChanged("gemini", "flash", state, datetime(2026, 11, 20, tzinfo=UTC)))
        shown.append(value(metrics, "llmapi_breaker_open", provider="gemini", model="flash"))
    assert shown == [1, 1, 1, 0]
    assert value(metrics, "llmapi_breaker_changes_total", model="flash", state="open") == 2


def test_a_made_up_model_has_no_breaker_of_its_own_here(metrics):
    metrics(BreakerChanged("openai", "gpt-made-up", "open", datetime(2026, 11, 20, tzinfo=UTC)))
    assert value(metrics, "llmapi_breaker_open", model="other") == 1


def test_calls_under_way_are_read_when_somebody_looks(metrics):
    row = {"provider": "gemini", "in_flight": 3, "limit": 20, "most": 640, "waiting": 0}
    metrics.watch_gates(lambda: [row])
    assert value(metrics, "llmapi_in_flight", provider="gemini") == 3
    row["in_flight"] = 0
    assert value(metrics, "llmapi_in_flight", provider="gemini") == 0
    assert value(metrics, "llmapi_in_flight_limit", provider="gemini") == 20


def test_two_applications_in_one_process_do_not_mix(metrics):
    other = Metrics()
    metrics(a_finished_call())
    assert b"llmapi_calls_total{" not in other.render()[0]


def test_nothing_of_an_unknown_kind_is_counted_and_nothing_breaks(metrics):
    metrics(object())
    assert metrics.render()[1].startswith("text/plain")


WORKERS = """
import os, sys
from pathlib import Path
from llmapi.cache.memory import MemoryCache
from llmapi.core.calls import Completion
from datetime import UTC, datetime
from llmapi.core.events import BreakerChanged
from llmapi.events.metrics import Metrics, forget_process
from tests.events.conftest import a_finished_call

folder = Path(sys.argv[1])
(folder / "metrics").mkdir()
(folder / "metrics" / "counter_999999999.db").write_bytes(b"of an earlier run")
cache = MemoryCache(4)
metrics = Metrics(cache, workers=3, folder=folder)  # before the fork, as gunicorn preloads it
metrics.watch_gates(lambda: [{"provider": "gemini", "in_flight": 2, "limit": 10}] if os.getpid() != parent else [])
parent = os.getpid()
gone = []
for number in range(3):
    child = os.fork()
    if child == 0:
        for _ in range(number + 1):
            cache.put(str(_), Completion(), provider="p", model="m")
            metrics(a_finished_call())
        metrics(a_finished_call(cache="hit", attempts=()))
        metrics(BreakerChanged("gemini", "flash", "closed" if number else "open", datetime(2026, 11, 20, tzinfo=UTC)))
        os._exit(0)
    os.waitpid(child, 0)
    gone.append(child)
forget_process(gone[-1])
sys.stdout.write(metrics.render()[0].decode())
"""


def test_a_scrape_of_one_worker_shows_the_numbers_of_all(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", WORKERS, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    numbers = dict(line.rpartition(" ")[::2] for line in ran.stdout.splitlines() if not line.startswith("#"))
    labels = 'cache="miss",model="flash",provider="gemini",status="ok",task="text"'
    assert numbers[f"llmapi_calls_total{{{labels}}}"] == "6.0"
    assert float(numbers["llmapi_cache_hit_ratio"]) == pytest.approx(3 / 9)
    assert numbers['llmapi_breaker_open{model="flash",provider="gemini"}'] == "1.0"  # in one of them
    assert numbers['llmapi_in_flight{provider="gemini"}'] == "4.0"
    assert numbers["llmapi_cache_entries"] == "3.0"  # of the two workers that are not known to be dead
    assert numbers['llmapi_call_seconds_count{cache="miss",task="text"}'] == "6.0"


def test_numbers_cannot_be_shared_once_they_are_kept_in_memory(tmp_path):
    code = "import sys, prometheus_client; from pathlib import Path; from llmapi.events.metrics import Metrics\n"
    code += "Metrics(workers=2, folder=Path(sys.argv[1]))"
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert "BadSetting: workers" in ran.stderr
