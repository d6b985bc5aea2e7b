"""Two worker processes behave as one service: limits, jobs, numbers; and neither a kill nor a stop loses work."""

import os
import re
import signal
import threading

import pytest
import urllib3

from tests.api.reading import events_of
from tests.fakes.behaviours import Answer
from tests.journeys.conftest import on
from tests.journeys.service import Service, until

TEXT = "/v1/text/generate"


def fresh(number):
    return {"prompt": f"Question {number}", "max_tokens": 9}


@pytest.fixture
def service(tmp_path, upstream):
    settings = on(upstream, LLMAPI_WORKERS="2", LLMAPI_LIMITS_MODELS="20/hour", LLMAPI_JOB_LEASE="2")
    with Service(tmp_path, settings) as running:
        until(lambda: len(running.workers()) == 2)
        yield running


def test_a_limit_is_exact_over_both_workers(service):
    answers = []
    for _ in range(30):
        answers.append(service.ask("GET", "/v1/models", Connection="close").status)
    assert (answers.count(200), answers.count(429)) == (20, 10)


def test_metrics_show_both_workers_together(service):
    for number in range(20):
        service.ask("POST", TEXT, fresh(number), Connection="close")
    told = service.ask("GET", "/metrics").data.decode()
    assert re.search(r'llmapi_http_requests_total\{[^}]*route="/v1/text/generate"[^}]*\} 20.0', told)


def test_jobs_of_a_killed_process_are_taken_up_again(service, upstream):
    upstream.default = Answer("late", delay=1.0)
    jobs = [service.ask("POST", "/v1/jobs", {"task": "text", "request": fresh(n)}).json()["id"] for n in range(4)]
    upstream.wait_asked(2)
    os.kill(service.workers()[0], signal.SIGKILL)
    for job in jobs:
        told = until(lambda job=job: ended(service, job))
        assert (told["status"], told["result"]["output"]["text"]) == ("succeeded", "late")


def ended(service, job):
    try:
        told = service.ask("GET", f"/v1/jobs/{job}", Connection="close").json()
    except urllib3.exceptions.HTTPError:
        return None  # the connection was the killed worker's
    return told if told["status"] not in ("queued", "running") else None


def test_a_stop_lets_running_requests_and_streams_finish(service, upstream):
    upstream.default = Answer("one two three", delay=0.5, gap=0.3)
    found = {}
    streamed = threading.Thread(
        target=lambda: found.update(stream=service.ask("POST", TEXT, {**fresh(1), "stream": True}).data)
    )
    plain = threading.Thread(target=lambda: found.update(plain=service.ask("POST", TEXT, fresh(2)).status))
    streamed.start()
    plain.start()
    upstream.wait_asked(2)
    assert service.stop() == 0
    streamed.join(10)
    plain.join(10)
    assert found["plain"] == 200
    assert events_of(found["stream"])[-1].kind == "done"


def test_a_client_that_leaves_ends_its_upstream_call_within_two_seconds(service, upstream):
    upstream.default = Answer("one two three", gap=30.0)
    answer = service.http.request(
        "POST",
        service.url + TEXT,
        body=b'{"prompt": "x", "stream": true}',
        headers={"Content-Type": "application/json"},
        preload_content=False,
    )
    assert b"chunk" in next(iter(answer.stream(64)), b"") + next(iter(answer.stream(64)), b"")
    answer.close()
    assert upstream.aborted.wait(2.0)


def test_it_does_not_start_open_to_the_world_without_keys(tmp_path, upstream):
    service = Service(tmp_path, on(upstream, LLMAPI_HOST="0.0.0.0"), wait=False)
    assert service.process.wait(20) != 0
    assert "LLMAPI_AUTH=required" in service.log.read_text()
