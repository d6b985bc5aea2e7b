"""/v1/batches with OpenAI's own client, over every endpoint."""

import json
import threading
import time

import openai
import pytest
from pydantic import SecretStr

from tests.fakes.behaviours import Answer, Status

KEYS = [SecretStr("one:key-of-tenant-one"), SecretStr("two:key-of-tenant-two")]
CHAT = "/v1/chat/completions"
MODEL = "gpt-4o-mini"
TURNS = [{"role": "user", "content": "How is the sea?"}]


def row(number, url=CHAT, **body):
    body = body or {"model": MODEL, "messages": [{"role": "user", "content": f"Question {number}"}]}
    return {"custom_id": f"c{number}", "method": "POST", "url": url, "body": body}


def put(sdk, rows, endpoint=CHAT, **more):
    data = b"\n".join(json.dumps(each).encode() for each in rows)
    file = sdk.files.create(file=("in.jsonl", data), purpose="batch")
    return sdk.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", **more)


def until(sdk, id, *statuses):
    """Return a batch once it has one of these statuses."""
    deadline = time.monotonic() + 20
    while (found := sdk.batches.retrieve(id)).status not in statuses:
        assert time.monotonic() < deadline, found.status
        threading.Event().wait(0.02)
    return found


def lines(sdk, file):
    return [json.loads(each) for each in sdk.files.content(file).text.splitlines()]


def test_a_batch_is_answered_line_by_line_in_the_order_of_its_file(sdk, openai_upstream):
    made = put(sdk, [row(n) for n in range(30)], metadata={"night": "1"})
    assert (made.object, made.status, made.metadata) == ("batch", "validating", {"night": "1"})
    assert made.expires_at - made.created_at == 86_400
    done = until(sdk, made.id, "completed")
    counts = done.request_counts
    assert (counts.total, counts.completed, counts.failed) == (30, 30, 0)
    assert done.created_at <= done.in_progress_at <= done.finalizing_at <= done.completed_at
    assert done.error_file_id is None
    told = lines(sdk, done.output_file_id)
    assert [each["custom_id"] for each in told] == [f"c{n}" for n in range(30)]
    assert {set(each) == {"id", "custom_id", "response", "error"} for each in told} == {True}
    first = told[0]["response"]
    assert (first["status_code"], first["body"]["object"]) == (200, "chat.completion")
    assert first["body"]["choices"][0]["message"]["content"] == "Fine."
    assert first["body"]["id"] == f"chatcmpl-{first['request_id']}"
    assert sorted(body["messages"][0]["content"] for body in openai_upstream.bodies) == sorted(
        f"Question {n}" for n in range(30)
    )
    assert sdk.files.retrieve(done.output_file_id).purpose == "batch_output"


@pytest.mark.parametrize(
    ("endpoint", "body", "has"),
    [
        (CHAT, {"model": MODEL, "messages": TURNS}, "choices"),
        ("/v1/responses", {"model": MODEL, "input": "Hi", "metadata": {"a": "b"}}, "output"),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": ["a", "b"]}, "data"),
        ("/v1/text/generate", {"prompt": "Hi", "model": MODEL, "request_id": "mine"}, "output"),
        ("/v1/code/generate", {"prompt": "Add", "model": MODEL, "verify": "none"}, "output"),
        ("/v1/classify", {"text": "I love it", "labels": ["Fine.", "bad"], "model": MODEL}, "output"),
        ("/v1/chat", {"messages": TURNS, "model": MODEL}, "output"),
    ],
)
def test_every_endpoint_takes_batches_and_refuses_what_its_address_refuses(sdk, openai_upstream, endpoint, body, has):
    openai_upstream.default = "A"
    made = put(sdk, [row(1, endpoint, **body), row(2, endpoint, **body, colour="red")], endpoint)
    done = until(sdk, made.id, "completed")
    (good,) = lines(sdk, done.output_file_id)
    assert good["response"]["status_code"] == 200
    assert has in good["response"]["body"]
    (bad,) = lines(sdk, done.error_file_id)
    assert (bad["custom_id"], bad["error"]) == ("c2", None)
    own = endpoint in ("/v1/text/generate", "/v1/code/generate", "/v1/classify", "/v1/chat")
    assert bad["response"]["status_code"] == (422 if own else 400)
    assert ("code" if own else "error") in bad["response"]["body"]


def test_a_providers_failure_is_told_in_its_line(sdk, openai_upstream):
    openai_upstream.behaviour = lambda asked: (
        Status(401) if asked.body["messages"][0]["content"] == "Question 1" else Answer("Calm.")
    )
    done = until(sdk, put(sdk, [row(1), row(2)]).id, "completed")
    (bad,) = lines(sdk, done.error_file_id)
    assert bad["response"]["status_code"] == 502
    assert bad["response"]["body"]["error"]["code"] == "provider_invalid"
    assert len(lines(sdk, done.output_file_id)) == 1


def test_a_list_of_requests_is_a_batch_too(sdk):
    requests = [{"custom_id": f"c{n}", "body": {"prompt": f"Question {n}", "model": MODEL}} for n in range(3)]
    body = {"endpoint": "/v1/text/generate", "requests": requests}
    made = sdk.post("/batches", body=body, cast_to=openai.types.Batch)
    done = until(sdk, made.id, "completed")
    assert [each["custom_id"] for each in lines(sdk, done.output_file_id)] == ["c0", "c1", "c2"]
    assert len(lines(sdk, done.input_file_id)) == 3


def test_a_running_batch_is_cancelled_within_two_seconds(sdk, openai_upstream):
    openai_upstream.default = Answer("late", delay=30)
    made = put(sdk, [row(n) for n in range(20)])
    openai_upstream.wait_asked(8)
    begun = time.monotonic()
    assert sdk.batches.cancel(made.id).status in ("cancelling", "cancelled")
    ended = until(sdk, made.id, "cancelled")
    assert time.monotonic() - begun < 2.0
    assert openai_upstream.aborted.wait(2)
    assert len(openai_upstream.asked) == 8
    assert ended.cancelling_at <= ended.cancelled_at
    assert len(lines(sdk, ended.error_file_id)) == 20
    with pytest.raises(openai.ConflictError):
        sdk.batches.cancel(made.id)


def test_the_list_goes_page_by_page_newest_first(connect):
    sdk = connect(job_workers=0)
    made = [put(sdk, [row(1)]).id for _ in range(5)]
    assert [each.id for each in sdk.batches.list(limit=2)] == made[::-1]


def test_a_foreign_batch_is_answered_like_an_unknown_one(served):
    address = served(auth="required", api_keys=KEYS, job_workers=0)
    one, two = (
        openai.OpenAI(base_url=f"{address}/v1", api_key=f"key-of-tenant-{who}", max_retries=0) for who in ("one", "two")
    )
    made = put(one, [row(1)])
    for ask in (two.batches.retrieve, two.batches.cancel):
        told = []
        for id in (made.id, "batch_unknown"):
            with pytest.raises(openai.NotFoundError) as refused:
                ask(id)
            told.append(refused.value.response.content)
        assert told[0] == told[1]
    assert two.batches.list().data == []
    with pytest.raises(openai.BadRequestError) as refused:
        two.batches.create(input_file_id=made.input_file_id, endpoint=CHAT, completion_window="24h")
    assert refused.value.param == "input_file_id"
    one.close()
    two.close()


GOOD = {"endpoint": "/v1/chat", "requests": [{"custom_id": "a", "body": {}}]}


@pytest.mark.parametrize(
    ("param", "body"),
    [
        ("input_file_id", {"endpoint": CHAT}),
        ("input_file_id", {**GOOD, "input_file_id": "file_x"}),
        ("input_file_id", {"endpoint": CHAT, "input_file_id": "file_unknown"}),
        ("endpoint", {**GOOD, "endpoint": "/v1/decisions"}),
        ("completion_window", {**GOOD, "completion_window": "1h"}),
        ("metadata", {**GOOD, "metadata": {"a": 1}}),
        ("requests", {**GOOD, "requests": []}),
        ("requests", {**GOOD, "requests": GOOD["requests"] * 1001}),
        ("requests.0.custom_id", {**GOOD, "requests": [{"body": {}}]}),
        ("output_expires_after", {**GOOD, "output_expires_after": {"anchor": "created_at", "seconds": 1}}),
        ("colour", {**GOOD, "colour": "red"}),
    ],
)
def test_a_wrong_batch_is_refused_by_name(sdk, param, body):
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.post("/batches", body=body, cast_to=openai.types.Batch)
    assert refused.value.param == param
    assert sdk.batches.list().data == []


def test_a_callers_own_key_is_not_kept_for_a_batch(sdk):
    with pytest.raises(openai.BadRequestError):
        sdk.post(
            "/batches", body=GOOD, cast_to=openai.types.Batch, options={"headers": {"X-Provider-Key": "sk-mine-mine"}}
        )


def test_the_files_a_batch_writes_are_kept_as_long_as_its_owner_says(sdk):
    made = put(sdk, [row(1)], output_expires_after={"anchor": "created_at", "seconds": 7200})
    file = sdk.files.retrieve(until(sdk, made.id, "completed").output_file_id)
    assert file.expires_at - file.created_at in (7199, 7200)
