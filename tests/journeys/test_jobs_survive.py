"""Jobs survive their workers: none lost, none delivered twice, and not paid more often than workers were killed."""

import os
import signal

import pytest
import urllib3

from benchmarks.soak_jobs import soak
from tests.api.reading import events_of
from tests.fakes.behaviours import Answer
from tests.journeys.conftest import on
from tests.journeys.service import Service, until

TEXT = {"task": "text", "request": {"prompt": "Hi", "max_tokens": 9}}


def test_jobs_survive_workers_that_are_killed(tmp_path):
    report = soak(tmp_path, jobs=300, workers=2, threads=2, takes=0.03, every=0.7, kills=2)
    assert report.holds, report
    assert (report.kills, report.succeeded) == (2, 300), report


@pytest.fixture
def service(tmp_path, upstream):
    settings = on(upstream, LLMAPI_WORKERS="2", LLMAPI_JOB_LEASE="2", LLMAPI_JOB_BACKOFF="0.1", LLMAPI_GRACE="2")
    with Service(tmp_path, settings) as running:
        until(lambda: len(running.workers()) == 2)
        yield running


def test_the_events_of_a_job_go_on_at_another_worker(service, upstream):
    upstream.default = Answer("late", delay=3.0)
    job = service.ask("POST", "/v1/jobs", TEXT).json()["id"]
    upstream.wait_asked(1)
    os.kill(service.workers()[0], signal.SIGKILL)
    told = until(lambda: finished(service, job))
    assert told["status"] == "succeeded"
    last = events_of(service.ask("GET", f"/v1/jobs/{job}/events", Last_Event_ID="1", Connection="close").data)[-1]
    assert last.data["result"]["output"]["text"] == "late"


def finished(service, job):
    try:
        told = service.ask("GET", f"/v1/jobs/{job}", Connection="close").json()
    except urllib3.exceptions.HTTPError:  # the connection was the killed worker's
        return None
    return told if told["status"] not in ("queued", "running") else None


def test_a_stop_hands_long_jobs_back_and_the_next_start_does_them(tmp_path, upstream):
    settings = on(upstream, LLMAPI_GRACE="1")
    upstream.default = Answer("late", delay=30.0)
    with Service(tmp_path, settings) as first:
        job = first.ask("POST", "/v1/jobs", TEXT).json()["id"]
        upstream.wait_asked(1)
        assert first.stop(seconds=15.0) == 0
    upstream.default = "Hello."
    with Service(tmp_path, settings) as second:
        told = until(lambda: finished(second, job))
    assert (told["status"], told["attempts"]) == ("succeeded", 1)
