"""How much work waits, in /metrics and /stats."""

import subprocess
import sys

from llmapi.core.errors import Overloaded
from llmapi.core.events import JobChanged
from llmapi.events.job_numbers import JobNumbers
from llmapi.events.metrics import Metrics
from llmapi.events.stats import stats_of
from llmapi.jobs.registry import Depths
from tests.house.test_house import ROOT

DEPTHS = Depths(queued=3, running=2, dead=1, oldest=12.5)


def shown(numbers):
    return {sample.name: sample.value for family in numbers.collect() for sample in family.samples}


def test_the_queue_is_looked_up_once_a_second_at_most():
    now, looks = [0.0], []
    numbers = JobNumbers(lambda: looks.append(1) or DEPTHS, lambda: now[0])
    for now[0], looked in ((0.0, 1), (0.9, 1), (1.0, 2)):
        assert shown(numbers)["llmapi_job_oldest_seconds"] == 12.5
        assert len(looks) == looked


def test_a_database_that_does_not_answer_costs_these_numbers_and_no_others():
    def look():
        raise Overloaded("busy")

    metrics = Metrics()
    metrics.watch_jobs(look)
    text = metrics.render()[0].decode()
    assert "llmapi_job_queue" not in text
    assert "llmapi_cache_hit_ratio" in text


SHARED = """
import os, sys
from pathlib import Path
from llmapi.events.metrics import Metrics
from llmapi.jobs.registry import Depths

metrics = Metrics(workers=2, folder=Path(sys.argv[1]))
metrics.watch_jobs(lambda: Depths(queued=3, running=2, dead=1, oldest=12.5))
if (child := os.fork()) == 0:
    metrics.render()
    os._exit(0)
os.waitpid(child, 0)
sys.stdout.write(metrics.render()[0].decode())
"""


def test_workers_that_were_all_asked_do_not_add_the_queue_up(tmp_path):
    ran = subprocess.run([sys.executable, "-c", SHARED, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    found = [line for line in ran.stdout.splitlines() if line.startswith('llmapi_job_queue{status="queued"}')]
    assert found == ['llmapi_job_queue{status="queued"} 3.0'], ran.stderr


def test_attempts_after_the_first_are_retries():
    metrics = Metrics()
    metrics.watch_jobs(lambda: DEPTHS)
    for attempt in (1, 2, 3):
        metrics(JobChanged("j", "a", "task", "running", attempt))
    metrics(JobChanged("j", "a", "task", "succeeded", 3, 0.2))
    told = stats_of(metrics.families(), since=metrics.since, now=metrics.since)["job_queue"]
    assert (told["queued"], told["running"], told["dead"], told["oldest_s"], told["retries"]) == (3, 2, 1, 12.5, 2)
    assert told["run_ms"]["count"] == 1
