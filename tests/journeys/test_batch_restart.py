"""A service that is killed in the middle of a batch goes on with it, and asks no line twice."""

import json
import os
import signal
from collections import Counter

import pytest

from tests.fakes.behaviours import Hang
from tests.journeys.conftest import on
from tests.journeys.service import Service, until

LINES = 100
KILLED_AT = 40


@pytest.fixture
def settings(upstream):
    return on(upstream, LLMAPI_WORKERS="1", LLMAPI_JOB_LEASE="1", LLMAPI_RETRY_ATTEMPTS="1")


def asked(upstream):
    """Return how often each line was asked, by its custom_id."""
    return Counter(body["contents"][-1]["parts"][0]["text"] for body in upstream.bodies)


def ended(service, id):
    told = service.ask("GET", f"/v1/batches/{id}").json()
    return told if told["status"] == "completed" else None


def lines(service, file):
    return [json.loads(each) for each in service.ask("GET", f"/v1/files/{file}/content").data.splitlines()]


def test_a_killed_service_goes_on_with_its_batch_and_repeats_nothing_paid(tmp_path, upstream, settings):
    upstream.behaviour = lambda _: "Calm." if len(upstream.asked) <= KILLED_AT else Hang()
    requests = [{"custom_id": f"line {n}", "body": {"prompt": f"line {n}"}} for n in range(LINES)]
    with Service(tmp_path, settings) as service:
        made = service.ask("POST", "/v1/batches", {"endpoint": "/v1/text/generate", "requests": requests})
        assert made.status == 200, made.data
        upstream.wait_asked(KILLED_AT + 1, 30)
        for worker in service.workers():
            os.kill(worker, signal.SIGKILL)
        service.stop(signal.SIGKILL)
    assert KILLED_AT < len(upstream.asked) < LINES
    upstream.behaviour = None
    with Service(tmp_path, settings) as service:
        told = until(lambda: ended(service, made.json()["id"]), 40)
        good, bad = lines(service, told["output_file_id"]), lines(service, told["error_file_id"])
    counts = told["request_counts"]
    assert counts == {"total": LINES, "completed": len(good), "failed": len(bad)}
    assert set(asked(upstream).values()) == {1}
    unheard = {f"line {n}" for n in range(LINES)} - set(asked(upstream))  # noted as sent, and killed on the way
    assert unheard <= {each["custom_id"] for each in bad}
    assert {each["error"]["code"] for each in bad} == {"idempotency_outcome_unknown"}
    assert 1 <= len(bad) <= 8
    assert sorted(each["custom_id"] for each in good + bad) == sorted(f"line {n}" for n in range(LINES))
