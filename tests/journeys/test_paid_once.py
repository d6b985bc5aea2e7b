"""At most one upstream call for each key: two workers asked at once, and workers killed between any two steps.

More rounds of the kills than the suite has: python -m tests.journeys.test_paid_once --rounds 100
"""

import argparse
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import urllib3
from pydantic import SecretStr
from sqlalchemy import event

from llmapi.app import create_app
from llmapi.bootstrap import build
from llmapi.settings import Settings
from tests.fakes.behaviours import Answer
from tests.fakes.gemini import FakeGemini
from tests.journeys.conftest import on
from tests.journeys.service import Service, until

TEXT = "/v1/text/generate"
FRESH = {"cache": {"mode": "bypass"}}
LEASE = 0.5
# When a worker is killed: so many of its transactions over the table of keys were begun, and so many were over. They
# are a look, the claim, the note that it is sent, and the answer.
POINTS = {
    "before_claim": (2, 1),
    "after_claim": (2, 2),
    "after_sent": (3, 3),
    "after_the_answer": (4, 3),
    "after_done": (4, 4),
}
# What the key is answered with afterwards, and what it has cost: where nobody can know, nothing is asked again.
AFTERWARDS = {
    "before_claim": (200, 1),
    "after_claim": (200, 1),
    "after_sent": (409, 0),
    "after_the_answer": (409, 1),
    "after_done": (200, 1),
}


def question(number):
    return {"prompt": f"Question {number}", **FRESH}


@pytest.fixture
def service(tmp_path, upstream):
    settings = on(upstream, LLMAPI_WORKERS="2", LLMAPI_LIMITS_TEXT="100000/minute", LLMAPI_IDEMPOTENCY_LEASE="2")
    with Service(tmp_path, settings) as running:
        until(lambda: len(running.workers()) == 2)
        yield running


def test_two_hundred_at_once_on_two_workers_are_one_call_for_each_key(service, upstream):
    upstream.default = Answer("Fine.", delay=0.3)
    keys = [f"key-{number % 4}" for number in range(200)]
    with ThreadPoolExecutor(200) as pool:
        told = list(pool.map(lambda key: asked(service, key, Prefer="wait=30"), keys))
    assert Counter((answer.status, answer.json().get("code")) for answer in told) == {(200, None): 200}
    assert len({answer.data for answer in told}) == 4
    assert len(upstream.asked) == 4


def asked(service, key, **headers):
    return service.ask("POST", TEXT, question(key), Idempotency_Key=key, Connection="close", **headers)


def test_a_killed_worker_s_request_is_known_to_be_unknown_within_the_lease(service, upstream):
    upstream.default = Answer("late", delay=30)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(asked, service, "k1")
        upstream.wait_asked(1)
        assert asked(service, "k1").json()["code"] == "idempotency_in_progress"
        for worker in service.workers():
            os.kill(worker, signal.SIGKILL)
        with pytest.raises(urllib3.exceptions.HTTPError):
            first.result()
    assert until(lambda: settled(service, "k1"), 10.0) == "idempotency_outcome_unknown"
    assert len(upstream.asked) == 1


def settled(service, key):
    try:
        code = asked(service, key).json()["code"]
    except urllib3.exceptions.HTTPError:
        return None  # the new worker is not there yet
    return code if code != "idempotency_in_progress" else None


@pytest.mark.parametrize("point", POINTS)
def test_workers_killed_anywhere_pay_once_and_block_nobody_for_longer_than_their_lease(tmp_path, upstream, point):
    assert fates(tmp_path, upstream, point, rounds=20) == Counter({AFTERWARDS[point]: 20})


def fates(folder, upstream, point, rounds):
    """Kill a worker at a point, `rounds` times with a new key each; then ask again until all is settled.

    Returns how often which status came in the end, with the number of upstream calls its key had cost by then.
    """
    fork = multiprocessing.get_context("fork")
    with opened(folder, upstream) as client:
        for number in range(rounds):
            worker = fork.Process(target=work_and_die, args=(folder, upstream.url, point, number))
            worker.start()
            worker.join(30)
            assert worker.exitcode == -signal.SIGKILL
        end = time.monotonic() + LEASE + 5
        answers = [settled_by(end, client, number) for number in reversed(range(rounds))]  # the leases of the last run
    calls = Counter(asked.body["contents"][-1]["parts"][0]["text"] for asked in upstream.asked)
    return Counter((status, calls[question(number)["prompt"]]) for number, status in answers)


def settled_by(end, client, number):
    """Return the number and the status its key is answered with once nobody holds it any more."""
    while (answer := sent(client, number)).status_code == 409 and "progress" in answer.json["code"]:
        assert time.monotonic() < end, "stuck for longer than the lease"
        threading.Event().wait(0.05)
    return number, answer.status_code


class opened:
    """An application of this process on a folder; as a context, its client."""

    def __init__(self, folder, upstream_or_url):
        url = getattr(upstream_or_url, "url", upstream_or_url)
        self.services = build(
            Settings(
                data_dir=folder / "data",
                google_api_key=SecretStr("AIzaSyFakeFakeFakeFakeFakeFakeFakeFake"),
                gemini_base_url=url,
                local=False,
                job_workers=0,
                idempotency_lease=LEASE,
            )
        )
        self.client = create_app(self.services).test_client()

    def __enter__(self):
        return self.client

    def __exit__(self, *_):
        self.services.close()


def sent(client, number):
    return client.post(TEXT, json=question(number), headers={"Idempotency-Key": f"key-{number}"})


def work_and_die(folder, url, point, number):
    """Do a request in this process, and be killed at the point."""
    application = opened(folder, url)
    engine = application.services.engine
    application.services.idempotency.fingerprint(b"")  # its secret is fetched: not one of the steps
    begun, over = POINTS[point]
    counts = {"begun": 0, "over": 0}

    def look():
        if (counts["begun"], counts["over"]) == (begun, over):
            os.kill(os.getpid(), signal.SIGKILL)

    def at_statement(connection, cursor, statement, *_):
        information = connection.connection.record_info
        if "idempotency_keys" in statement and not information.get("of keys"):
            information["of keys"] = True
            counts["begun"] += 1
            look()

    def at_checkin(_, record):  # after the commit was done
        if record.record_info.pop("of keys", False):
            counts["over"] += 1
            look()

    event.listen(engine, "before_cursor_execute", at_statement)
    event.listen(engine, "checkin", at_checkin)
    sent(application.client, number)


def main():
    """Kill as often as the command line says, at each point."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    for point in POINTS:
        with tempfile.TemporaryDirectory() as folder, FakeGemini() as upstream:
            assert fates(Path(folder), upstream, point, rounds) == Counter({AFTERWARDS[point]: rounds})
        print(f"{point}: {rounds} rounds, at most one call a key", flush=True)


if __name__ == "__main__":
    main()
