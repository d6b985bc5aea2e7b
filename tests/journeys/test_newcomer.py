"""A newcomer's first minutes: no key, no network, real answers from the embedded model."""

import json

from tests.api.reading import events_of
from tests.api.test_jobs import ADDRESSES
from tests.journeys.service import ROOT, Service, until


def test_the_three_tasks_answer_from_the_embedded_model(service):
    text = service.ask("POST", "/v1/text/generate", {"prompt": "The sea is", "max_tokens": 12})
    code = service.ask("POST", "/v1/code/generate", {"prompt": "Print hello.", "max_tokens": 40, "max_repairs": 0})
    label = service.ask(
        "POST", "/v1/classify", {"text": "I love this product", "labels": ["positive", "negative"]}
    )
    assert [answer.status for answer in (text, code, label)] == [200, 200, 200]
    assert {answer.json()["provider"] for answer in (text, code, label)} == {"local"}
    assert text.json()["output"]["text"].strip()
    assert 0 < text.json()["usage"]["output_tokens"] <= 12
    assert text.json()["cost"]["status"] == "free"
    assert code.json()["output"]["verification"]["status"] in ("verified", "failed")
    assert label.json()["output"]["label"] == "positive"
    assert label.json()["output"]["evidence"] == "embedding"


def test_the_bound_of_a_dry_run_holds_for_the_shortest_question(service):
    asked = {"prompt": "Hi", "max_tokens": 4}
    estimate = service.ask("POST", "/v1/text/generate", {**asked, "dry_run": True}).json()["estimate"]
    usage = service.ask("POST", "/v1/text/generate", asked).json()["usage"]
    assert usage["input_tokens"] <= estimate["input_tokens_bound"]


def test_every_example_of_the_docs_is_answered(service):
    for task, address in {**ADDRESSES, "jobs": "/v1/jobs"}.items():
        for name, row in json.loads((ROOT / f"openapi/examples/{task}.json").read_text()).items():
            answer = service.ask("POST", address, row["value"])
            assert answer.status in (200, 202), (task, name, answer.data)


def test_the_embedded_model_streams(service):
    answer = service.ask("POST", "/v1/text/generate", {"prompt": "Count to ten.", "max_tokens": 20, "stream": True})
    events = events_of(answer.data)
    assert len(events) > 2
    assert events[-1].kind == "done"
    assert "".join(event.data["text"] for event in events[:-1]) == events[-1].data["output"]["text"]


def test_everything_written_is_private_to_its_owner(service):
    folder = service.log.parent / "data"
    assert folder.stat().st_mode & 0o077 == 0
    assert [str(file) for file in folder.rglob("*") if file.stat().st_mode & 0o077] == []


def test_the_log_is_json_lines_with_the_request_id(service):
    service.ask("GET", "/v1/models", X_Request_ID="find-me")

    def found():
        lines = [json.loads(line) for line in service.log.read_text().splitlines()]
        return [line for line in lines if line.get("request_id") == "find-me"]

    assert [line["status"] for line in until(found)] == [200]


def test_the_next_start_is_ready_at_once_and_jobs_are_still_there(tmp_path):
    question = {"task": "classify", "request": {"text": "My card was charged", "labels": ["billing", "delivery"]}}
    with Service(tmp_path, {}) as first:
        job = first.ask("POST", "/v1/jobs", question).json()["id"]
    with Service(tmp_path, {}) as second:
        until(lambda: second.ask("GET", f"/v1/jobs/{job}").json()["status"] == "succeeded")
        told = second.ask("GET", f"/v1/jobs/{job}").json()
        assert told["result"]["output"]["label"] == "billing"
