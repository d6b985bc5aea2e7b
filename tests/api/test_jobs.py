"""/v1/jobs: accepted work is done, found again, and can be cancelled."""

import threading
import time

import pytest
from pydantic import SecretStr

from tests.fakes.behaviours import Answer

ADDRESSES = {"text": "/v1/text/generate", "code": "/v1/code/generate", "classify": "/v1/classify"}
TEXT = {"task": "text", "request": {"prompt": "Hi", "max_tokens": 9}}


def ended(client, job, seconds=10.0):
    """Return a job once it has ended."""
    changed, until = threading.Event(), time.monotonic() + seconds
    leave = client.application.extensions["llmapi"].jobs.on_change(lambda job: changed.set())
    while time.monotonic() < until:
        told = client.get(f"/v1/jobs/{job}").json
        if told["status"] not in ("queued", "running"):
            leave()
            return told
        changed.wait(0.5)
        changed.clear()
    raise AssertionError(f"the job is still {told['status']}")


@pytest.mark.parametrize(
    ("task", "request_", "said"),
    [
        ("text", {"prompt": "Hi"}, "Hello."),
        ("code", {"prompt": "Add"}, "```python\nx = 1\n```"),
        ("classify", {"text": "I love it", "labels": ["good", {"name": "bad", "description": "b"}]}, "good"),
    ],
)
def test_every_task_can_be_done_later_with_the_same_answer(client, gemini, task, request_, said):
    gemini.default = said
    accepted = client.post("/v1/jobs", json={"task": task, "request": request_})
    assert (accepted.status_code, accepted.headers["Location"]) == (202, f"/v1/jobs/{accepted.json['id']}")
    told = ended(client, accepted.json["id"])
    assert (told["status"], told["task"], told["attempts"], told["error"]) == ("succeeded", task, 1, None)
    now = client.post(ADDRESSES[task], json=request_)
    assert told["result"]["output"] == now.json["output"]
    assert told["request_id"] == accepted.headers["X-Request-ID"]


def test_a_failed_job_says_why(client, gemini):
    gemini.default = 400
    told = ended(client, client.post("/v1/jobs", json=TEXT).json["id"])
    assert (told["status"], told["error"]["code"], told["result"]) == ("failed", "provider_invalid", None)


def test_a_chat_may_wait_and_is_queued_once_for_each_request_id(client, gemini):
    asked = {"task": "chat", "request": {"messages": [{"role": "user", "content": "Hi"}]}, "request_id": "night-1"}
    first, again = (client.post("/v1/jobs", json=asked) for _ in range(2))
    assert (first.status_code, again.data) == (202, first.data)
    assert ended(client, first.json["id"])["result"]["task"] == "chat"
    assert len(gemini.asked) == 1


def test_a_running_job_is_cancelled_and_its_upstream_call_closed(client, gemini):
    gemini.default = Answer("late", delay=30)
    job = client.post("/v1/jobs", json=TEXT).json["id"]
    gemini.wait_asked()
    client.delete(f"/v1/jobs/{job}")
    assert ended(client, job)["status"] == "cancelled"
    assert gemini.aborted.wait(2)


def test_a_queued_job_that_was_cancelled_is_never_run(make, gemini):
    client = make(job_workers=0)
    job = client.post("/v1/jobs", json=TEXT).json["id"]
    assert client.delete(f"/v1/jobs/{job}").json["status"] == "cancelled"
    again = client.delete(f"/v1/jobs/{job}")
    assert (again.status_code, again.json["code"], gemini.asked) == (409, "job_not_cancellable", [])


def test_the_list_goes_page_by_page_newest_first(make):
    client = make(job_workers=0)
    made = [client.post("/v1/jobs", json=TEXT).json["id"] for _ in range(5)]
    first = client.get("/v1/jobs?limit=3").json
    second = client.get(f"/v1/jobs?limit=3&after={first['next']}").json
    assert [job["id"] for job in first["data"] + second["data"]] == made[::-1]
    assert second["next"] is None
    assert {(job["task"], job["progress"], job["result"]) for job in first["data"]} == {(None, None, None)}
    assert client.get(f"/v1/jobs/{made[0]}").json["task"] == "text"
    assert client.get("/v1/jobs?status=running").json["data"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "status=odd", "colour=red"])
def test_a_wrong_query_is_named(client, query):
    assert client.get(f"/v1/jobs?{query}").json["code"] == "validation_error"


def test_a_foreign_job_is_answered_like_an_unknown_one(make):
    client = make(auth="required", api_keys=(SecretStr("a:key-of-a"), SecretStr("b:key-of-b")), job_workers=0)
    a, b = ({"X-API-Key": "key-of-a", "X-Request-ID": "r"}, {"X-API-Key": "key-of-b", "X-Request-ID": "r"})
    job = client.post("/v1/jobs", json=TEXT, headers=a).json["id"]
    for ask in (client.get, client.delete):
        assert ask(f"/v1/jobs/{job}", headers=b).data == ask("/v1/jobs/job_unknown", headers=b).data
    assert client.get("/v1/jobs", headers=b).json["data"] == []
    assert client.get(f"/v1/jobs/{job}", headers=a).json["status"] == "queued"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"task": "text", "request": {}}, "request.prompt"),
        ({"task": "text", "request": {"prompt": "x", "top_p": 9}}, "request.top_p"),
        ({"task": "text", "request": {"prompt": "x", "stream": True}}, "request.stream"),
        ({"task": "chat", "request": {"messages": [], "request_id": "x"}}, "request.messages"),
        ({"task": "text", "request": {"prompt": "x", "request_id": "x"}}, "request.request_id"),
        ({"task": "odd", "request": {}}, "task"),
        ({"task": "text", "request": {"prompt": "x"}, "priority": 10}, "priority"),
    ],
)
def test_a_wrong_request_is_refused_before_it_is_queued(client, body, field):
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json["errors"]] == [field]


def test_a_job_for_an_unknown_model_is_refused_before_it_is_queued(client):
    answer = client.post("/v1/jobs", json={"task": "text", "request": {"prompt": "x", "model": "nobody/knows"}})
    assert answer.status_code == 422
