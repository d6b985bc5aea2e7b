"""/v1/jobs: when a job runs, how often, how far it is, and what is done with the dead."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from llmapi.api.job_shapes import progress_of
from llmapi.core.clock import rfc3339
from llmapi.jobs.job import Job
from tests.api.test_jobs import TEXT, ended
from tests.fakes.behaviours import Answer

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


def put(client, **more):
    return client.post("/v1/jobs", json={**TEXT, **more})


def test_a_job_for_later_waits_for_its_hour(make):
    client = make(job_workers=0)
    hour = datetime.now(UTC) + timedelta(days=29)
    job = put(client, run_at=rfc3339(hour), timeout=7).json["id"]
    told = client.get(f"/v1/jobs/{job}").json
    assert (told["run_at"], told["timeout"], told["status"]) == (rfc3339(hour), 7, "queued")
    assert client.application.extensions["llmapi"].jobs.claim("w", 30) is None


def test_a_time_that_has_passed_means_now(client):
    assert ended(client, put(client, run_at="2001-01-01T00:00:00+02:00").json["id"])["status"] == "succeeded"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("run_at", "9999-12-31T23:59:59-23:59"),
        ("run_at", rfc3339(datetime.now(UTC) + timedelta(days=31))),
        ("run_at", "2026-11-02T09:30:00"),
        ("run_at", "2026-11-02"),
        ("run_at", 1793611800),
        ("timeout", 0),
        ("timeout", 86_401),
    ],
)
def test_a_wrong_time_is_named(client, field, value):
    answer = put(client, **{field: value})
    assert (answer.status_code, [error["field"] for error in answer.json["errors"]]) == (422, [field])


def test_a_failure_that_passes_costs_a_job_an_attempt_and_no_more(make, gemini):
    client = make(job_backoff=0.01, retry_attempts=1)
    gemini.script = [503, "Hello."]
    told = ended(client, put(client).json["id"])
    assert (told["status"], told["attempts"], told["error"], told["result"]["output"]["text"]) == (
        "succeeded", 2, None, "Hello.",
    )


def test_a_dead_job_is_listed_redriven_and_purged(make, gemini):
    client = make(job_backoff=0.01, job_attempts=2, retry_attempts=1, breaker_ratio=1.0)
    gemini.default = 503
    job = put(client).json["id"]
    told = ended(client, job)
    assert (told["status"], told["attempts"], told["reason"]) == ("dead", 2, "attempts_spent")
    (dead,) = client.get("/v1/jobs/dead-letters").json["data"]
    assert (dead["id"], dead["reason"], dead["error"]["code"]) == (job, "attempts_spent", "provider_unavailable")
    gemini.default = "Hello."
    assert client.post(f"/v1/jobs/dead-letters/{job}/redrive").json["attempts"] == 0
    assert ended(client, job)["status"] == "succeeded"
    assert client.post(f"/v1/jobs/dead-letters/{job}/redrive").status_code == 404
    assert client.delete(f"/v1/jobs/dead-letters/{job}").status_code == 404


def test_dead_letters_are_deleted_one_by_one_or_all_at_once(make, gemini):
    client = make(job_attempts=1, retry_attempts=1, breaker_ratio=1.0)
    gemini.default = 503
    jobs = [put(client).json["id"] for _ in range(3)]
    assert {ended(client, job)["status"] for job in jobs} == {"dead"}
    assert client.delete(f"/v1/jobs/dead-letters/{jobs[0]}").status_code == 204
    assert client.delete("/v1/jobs/dead-letters").json == {"deleted": 2}
    assert client.get("/v1/jobs").json["data"] == []


def test_nobody_sees_redrives_or_purges_a_foreign_dead_job(make, gemini):
    keys = (SecretStr("a:key-of-a"), SecretStr("b:key-of-b"))
    client = make(auth="required", api_keys=keys, job_attempts=1, retry_attempts=1)
    gemini.default = 503
    a, b = {"X-API-Key": "key-of-a"}, {"X-API-Key": "key-of-b"}
    job = client.post("/v1/jobs", json=TEXT, headers=a).json["id"]
    while client.get(f"/v1/jobs/{job}", headers=a).json["status"] != "dead":
        threading.Event().wait(0.01)
    assert client.get("/v1/jobs/dead-letters", headers=b).json["data"] == []
    assert client.post(f"/v1/jobs/dead-letters/{job}/redrive", headers=b).status_code == 404
    assert client.delete(f"/v1/jobs/dead-letters/{job}", headers=b).status_code == 404
    assert client.delete("/v1/jobs/dead-letters", headers=b).json == {"deleted": 0}
    assert client.get("/v1/jobs/dead-letters", headers=a).json["data"][0]["id"] == job


@pytest.mark.parametrize(
    "body",
    [
        {"task": "classify", "request": {"text": "I love it", "labels": ["good", "bad"]}},
        {"task": "code", "request": {"prompt": "Add", "language": "python"}},
    ],
)
def test_a_cancelled_job_of_many_calls_ends_soon_and_asks_no_more(client, gemini, body):
    gemini.default = Answer("late", delay=30)
    job = client.post("/v1/jobs", json=body).json["id"]
    gemini.wait_asked()
    client.delete(f"/v1/jobs/{job}")
    assert ended(client, job, 2.0)["status"] == "cancelled"
    asked = len(gemini.asked)
    assert gemini.aborted.wait(2)
    assert len(gemini.asked) == asked


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({"done": 25, "total": 100, "unit": "lines", "from": 0}, (25, 100, "lines", 30.0)),
        ({"done": 60, "total": 100, "unit": "lines", "from": 50}, (60, 100, "lines", 40.0)),
        ({"done": 50, "total": 100, "unit": "lines", "from": 50}, (50, 100, "lines", None)),
        ({"done": 5, "from": 0}, (5, None, None, None)),
    ],
)
def test_the_time_left_is_told_at_the_pace_of_this_attempt(told, shown):
    job = Job("j", "a", "echo", "running", 5, NOW, 1, 3, False, "", NOW, NOW, None, progress=told)
    assert tuple(progress_of(job, NOW + timedelta(seconds=10)).values()) == shown


def test_numbers_tell_what_waits(make, gemini):
    client = make(job_workers=0)
    put(client), put(client)
    client.application.extensions["llmapi"].jobs.claim("w", 30)
    told = client.get("/stats").json["job_queue"]
    assert (told["queued"], told["running"], told["dead"]) == (1, 1, 0)
    assert told["oldest_s"] >= 0
    assert 'llmapi_job_queue{status="queued"} 1.0' in client.get("/metrics").text
