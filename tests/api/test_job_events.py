"""GET /v1/jobs/{id}/events."""

import threading

import pytest
from pydantic import SecretStr

from tests.api.reading import events_of
from tests.api.test_jobs import TEXT
from tests.fakes.behaviours import Answer


@pytest.fixture
def quiet(make):
    """An application in which nothing runs unless the test does it."""
    return make(job_workers=0)


def registry_of(client):
    return client.application.extensions["llmapi"].jobs


def read(client, job, **headers):
    """Return what a stream says until it ends, read beside the test, and the thread that reads it."""
    said = []
    stream = client.get(f"/v1/jobs/{job}/events", headers=headers, buffered=False)
    frames = stream.iter_encoded()
    said.append(next(frames))
    reader = threading.Thread(target=lambda: said.extend(frames))
    reader.start()
    return said, reader


def test_a_job_tells_where_it_stands_until_it_ends(client, gemini):
    gemini.default = Answer("Hello.", delay=0.2)
    job = client.post("/v1/jobs", json=TEXT).json["id"]
    answer = client.get(f"/v1/jobs/{job}/events")
    events = events_of(answer.data)
    assert answer.mimetype == "text/event-stream"
    assert (events[-1].kind, events[-1].data["status"]) == ("status", "succeeded")
    assert events[-1].data["result"]["output"]["text"] == "Hello."
    ids = [int(event.id) for event in events]
    assert ids == sorted(set(ids))


def test_each_change_is_told_in_turn(quiet):
    job, registry = quiet.post("/v1/jobs", json=TEXT).json["id"], registry_of(quiet)
    said, reader = read(quiet, job)
    changed = threading.Event()
    claim = registry.claim("w", 30)
    for step in (
        lambda: registry.progress(claim, {"done": 1, "total": 4, "unit": "lines", "from": 0}),
        lambda: registry.cancel(job, "default"),
        lambda: registry.hand_back(claim),
    ):
        number = len(said)
        while len(said) == number:
            changed.wait(0.01)
        step()
    reader.join(5)
    told = [(event.kind, event.data["status"], event.data["cancel_asked"]) for event in events_of(b"".join(said))]
    assert told == [
        ("status", "queued", False),
        ("status", "running", False),
        ("progress", "running", False),
        ("status", "running", True),
        ("status", "cancelled", True),
    ]


def test_a_change_by_another_process_is_told_too(quiet, tmp_path):
    from llmapi.db.engine import open_engine
    from llmapi.jobs.registry import Registry
    from tests.jobs.parts import Heard

    job = quiet.post("/v1/jobs", json=TEXT).json["id"]
    said, reader = read(quiet, job)
    other = open_engine("", folder=tmp_path / "data0")
    Registry(other, Heard()).cancel(job, "default")
    reader.join(5)
    other.dispose()
    assert events_of(b"".join(said))[-1].data["status"] == "cancelled"


def test_who_comes_back_is_told_the_present_state_again(quiet):
    job, registry = quiet.post("/v1/jobs", json=TEXT).json["id"], registry_of(quiet)
    registry.cancel(job, "default")
    first = events_of(quiet.get(f"/v1/jobs/{job}/events").data)
    again = events_of(quiet.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": first[-1].id}).data)
    assert again == first
    assert len(first) == 1


def test_a_silent_stream_says_that_it_is_alive(make):
    client = make(job_workers=0, heartbeat=0.1)
    job = client.post("/v1/jobs", json=TEXT).json["id"]
    said, reader = read(client, job)
    reader.join(0.8)
    registry_of(client).cancel(job, "default")
    reader.join(5)
    assert b": ping\n\n" in said


def test_a_stream_ends_when_its_job_is_deleted_and_when_the_service_stops(quiet):
    jobs = [quiet.post("/v1/jobs", json=TEXT).json["id"] for _ in range(2)]
    readers = [read(quiet, job)[1] for job in jobs]
    registry_of(quiet).cancel(jobs[0], "default")
    readers[0].join(5)
    quiet.application.extensions["llmapi"].drain()
    readers[1].join(5)
    assert [reader.is_alive() for reader in readers] == [False, False]


def test_an_unknown_job_has_no_stream(client):
    assert client.get("/v1/jobs/job_unknown/events").json["code"] == "not_found"


def test_readers_of_events_hold_a_share_of_the_threads_at_most(make):
    keys = {"auth": "required", "api_keys": tuple(SecretStr(f"{tenant}:key-of-{tenant}") for tenant in "abc")}
    client = make(job_workers=0, threads=8, **keys)
    by = {tenant: {"X-API-Key": f"key-of-{tenant}"} for tenant in "abc"}
    jobs = {tenant: client.post("/v1/jobs", json=TEXT, headers=by[tenant]).json["id"] for tenant in "abc"}

    def ask(tenant):
        return client.get(f"/v1/jobs/{jobs[tenant]}/events", headers=by[tenant], buffered=False)

    first, *others = ask("a"), ask("a"), ask("b"), ask("b")
    refused = ask("a"), ask("b"), ask("c")
    assert [(each.status_code, each.headers["Retry-After"]) for each in refused] == [(503, "5")] * 3
    first.close()
    others.append(ask("c"))
    assert {each.status_code for each in others} == {200}
    assert client.get(f"/v1/jobs/{jobs['a']}", headers=by["a"]).status_code == 200
    for each in others:
        each.close()
