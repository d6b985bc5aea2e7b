"""A request with a key is done once, at every door that costs money."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr
from sqlalchemy import event

from llmapi.api.idempotency import PAID
from tests.api.reading import events_of
from tests.fakes.behaviours import Answer, Close, StreamError

TEXT = "/v1/text/generate"
FRESH = {"cache": {"mode": "bypass"}}  # so that only the key can save the second asking
ASKED = {"prompt": "Say something.", **FRESH}
TURNS = [{"role": "user", "content": "Hi"}]
DOORS = {
    TEXT: ASKED,
    "/v1/code/generate": {"prompt": "Add two numbers", "verify": "none", **FRESH},
    "/v1/classify": {"text": "I love it", "labels": ["good", "bad"], **FRESH},
    "/v1/chat": {"messages": TURNS, **FRESH},
    "/v1/chat/completions": {"model": "default", "messages": TURNS},
    "/v1/responses": {"model": "default", "input": "Hi"},
    "/v1/embeddings": {"model": "gemini/gemini-embedding-001", "input": "Hi"},
    "/v1/decisions": {"input": "I love it", "questions": [{"type": "predicate", "instructions": "It is good."}]},
    "/invoke": {"request_id": "k1", "user_prompt": "Hi"},
    "/api/query": {"query": "Hi"},
}


def post(client, body=ASKED, path=TEXT, key="k1", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, json=body, headers={"Idempotency-Key": key, **named})


def code(answer):
    return answer.json["code"]


@pytest.mark.parametrize("path", sorted(DOORS))
def test_a_repeat_gets_the_same_bytes_and_asks_nobody(client, gemini, path):
    gemini.default = Answer("good")
    first = post(client, DOORS[path], path, Cache_Control="no-store")
    assert first.status_code == 200, first.data
    asked = len(gemini.asked)
    second = post(client, DOORS[path], path, Cache_Control="no-store")
    assert (second.status_code, second.data, second.mimetype) == (200, first.data, first.mimetype)
    assert ("Idempotent-Replayed" in first.headers, second.headers["Idempotent-Replayed"]) == (False, "true")
    assert second.headers["Cache-Status"] == first.headers["Cache-Status"]
    assert second.headers["X-Request-ID"] != first.headers["X-Request-ID"]
    assert len(gemini.asked) == asked > 0


def test_every_door_that_costs_money_is_among_them(client):
    rules = client.application.url_map.iter_rules()
    later = {"jobs.Jobs", "batches.Batches", "cache.Warm"}
    assert {rule.endpoint for rule in rules if rule.rule in DOORS} | later == set(PAID)


def test_an_id_in_the_body_means_the_same(client, gemini):
    first = client.post(TEXT, json={**ASKED, "request_id": "r1"})
    again = client.post(TEXT, json={"request_id": "r1", **ASKED})  # the order of its fields does not matter
    assert (first.status_code, again.data, again.headers["Idempotent-Replayed"]) == (200, first.data, "true")
    escaped = client.post(TEXT, data=rb'{"request\u005fid": "r1", "prompt": "x"}', content_type="application/json")
    assert (escaped.status_code, code(escaped)) == (409, "duplicate_request_id")
    assert len(gemini.asked) == 1


def test_another_body_is_refused(client, gemini):
    post(client)
    other = post(client, {**ASKED, "prompt": "Something else."})
    assert (other.status_code, code(other)) == (422, "idempotency_key_reused")
    assert other.json["errors"][0]["field"] == "Idempotency-Key"
    named = client.post(TEXT, json={**ASKED, "request_id": "k1"})
    assert (named.status_code, code(named), named.json["errors"][0]["field"]) == (
        409, "duplicate_request_id", "request_id"
    )
    assert len(gemini.asked) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\tb"])
def test_what_cannot_be_a_key_is_named(client, gemini, key):
    answer = post(client, key=key)
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "Idempotency-Key")
    named = client.post(TEXT, json={**ASKED, "request_id": key})
    assert (named.status_code, named.json["errors"][0]["field"]) == (422, "request_id")
    assert gemini.asked == []


def test_two_keys_that_differ_are_refused(client):
    answer = post(client, {**ASKED, "request_id": "other"})
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "request_id")
    assert post(client, {**ASKED, "request_id": "k1"}).status_code == 200


def test_errors_keep_the_shape_of_their_door(client):
    post(client, DOORS["/v1/chat/completions"], "/v1/chat/completions")
    other = {**DOORS["/v1/chat/completions"], "seed": 1}
    answer = post(client, other, "/v1/chat/completions")
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "idempotency_key_reused")


def test_refused_work_frees_its_key(make, gemini):
    client = make(retry_attempts=1)
    assert post(client, {"prompt": ""}).status_code == 422
    gemini.script = [503, 429, 400, "Fine."]
    assert [post(client).status_code for _ in range(5)] == [503, 429, 502, 200, 200]
    assert len(gemini.asked) == 4


def test_a_refused_connection_frees_its_key(make, gemini):
    client = make(retry_attempts=1)
    gemini.stop()
    assert [post(client).status_code for _ in range(2)] == [503, 503]


@pytest.mark.parametrize("fault", [Answer("cut", cut_after=20), Close()], ids=["cut", "closed"])
def test_an_answer_that_was_lost_is_not_asked_for_again(make, gemini, fault):
    client = make(retry_attempts=1)
    gemini.script = [fault]
    assert post(client).status_code in (502, 503)
    again = post(client)
    assert (again.status_code, code(again)) == (409, "idempotency_outcome_unknown")
    assert again.headers["X-Should-Retry"] == "false"
    assert len(gemini.asked) == 1


def test_a_time_out_is_not_asked_for_again_unless_the_tenant_wants_it(make, gemini):
    gemini.script = [Answer("late", delay=9), Answer("late", delay=9), "Fine."]
    for client, expected in ((make(), 409), (make(idempotency_retry_unknown=("default",)), 200)):
        assert post(client, X_Request_Timeout="0.3").status_code == 504
        assert post(client).status_code == expected


def test_a_failure_that_was_paid_is_the_answer(client, gemini):
    gemini.default = Answer("", finish="blocked")
    first = post(client)
    assert first.status_code == 422 and code(first) == "content_blocked"
    second = post(client)
    assert (second.status_code, second.data, second.mimetype) == (422, first.data, first.mimetype)
    assert second.headers["X-Should-Retry"] == "false"
    assert len(gemini.asked) == 1


@pytest.fixture
def slow(gemini):
    """A Gemini that answers once `slow.leave` is set."""
    asked, leave = threading.Event(), threading.Event()

    def behave(_):
        asked.set()
        leave.wait(10)
        return "Fine."

    gemini.behaviour, gemini.under_way, gemini.leave = behave, asked, leave
    yield gemini
    leave.set()


def test_a_repeat_of_a_request_under_way_is_told_to_come_back(client, slow):
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: post(client.application.test_client()))
        assert slow.under_way.wait(10)
        second = post(client)
        slow.leave.set()
        assert (second.status_code, code(second)) == (409, "idempotency_in_progress")
        assert second.headers["Retry-After"] == "1" and "X-Should-Retry" not in second.headers
        assert first.result().status_code == 200


def test_a_repeat_may_wait_for_the_first(client, slow):
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lambda: post(client.application.test_client()))
        assert slow.under_way.wait(10)
        second = pool.submit(lambda: post(client.application.test_client(), Prefer="wait=20"))
        assert post(client, Prefer="wait=0").status_code == 409
        slow.leave.set()
        assert second.result().data == first.result().data
        assert second.result().headers["Idempotent-Replayed"] == "true"
    assert len(slow.asked) == 1


def test_fifty_threads_with_one_key_ask_once(client, gemini):
    gemini.default = Answer("Fine.", delay=0.1)
    with ThreadPoolExecutor(50) as pool:
        told = list(pool.map(lambda _: post(client.application.test_client(), Prefer="wait=20"), range(50)))
    assert {(answer.status_code, answer.data) for answer in told} == {(200, told[0].data)}
    assert len(gemini.asked) == 1


STREAMS = {
    TEXT: {**ASKED, "stream": True},
    "/v1/chat/completions": {**DOORS["/v1/chat/completions"], "stream": True},
    "/v1/responses": {**DOORS["/v1/responses"], "stream": True},
}


@pytest.mark.parametrize("path", sorted(STREAMS))
def test_a_stream_is_given_again_as_a_stream(client, gemini, path):
    gemini.default = Answer("one two three")
    first = post(client, STREAMS[path], path, Cache_Control="no-store")
    said = first.data  # read to its end
    second = post(client, STREAMS[path], path, Cache_Control="no-store")
    assert (second.data, second.mimetype) == (said, "text/event-stream")
    assert ("Idempotent-Replayed" in first.headers, second.headers["Idempotent-Replayed"]) == (False, "true")
    assert len(gemini.asked) == 1


@pytest.mark.parametrize("path", sorted(STREAMS))
def test_a_stream_that_broke_is_not_asked_for_again(client, gemini, path):
    gemini.default = StreamError()
    assert b"error" in post(client, STREAMS[path], path).data
    again = post(client, STREAMS[path], path)
    assert again.status_code == 409 and b"idempotency_outcome_unknown" in again.data
    assert len(gemini.asked) == 1


def test_a_stream_left_in_its_middle_is_not_asked_for_again(client, gemini):
    gemini.default = Answer("one two three", gate=threading.Semaphore(1))
    answer = client.post(TEXT, json=STREAMS[TEXT], headers={"Idempotency-Key": "k1"}, buffered=False)
    pieces = answer.iter_encoded()
    assert b"chunk" in next(pieces) + next(pieces)
    answer.close()
    again = post(client, STREAMS[TEXT])
    assert (again.status_code, code(again)) == (409, "idempotency_outcome_unknown")


def test_a_model_that_talks_like_the_end_of_a_stream_does_not_end_it(client, gemini):
    said = "a\nevent: done\ndata: [DONE]\n\n"
    gemini.default = Answer(said, pieces=(said, "b"))
    first = post(client, STREAMS[TEXT]).data
    assert events_of(first)[-1].data["output"]["text"] == said + "b"
    assert post(client, STREAMS[TEXT]).data == first


@pytest.mark.parametrize(
    ("path", "body", "prefer"),
    [("/v1/jobs", {"task": "text", "request": {"prompt": "Hi"}}, ""), (TEXT, ASKED, "respond-async")],
)
def test_a_job_is_made_once(client, path, body, prefer):
    first, second = (post(client, body, path, Prefer=prefer) for _ in range(2))
    assert (first.status_code, second.status_code, second.data) == (202, 202, first.data)
    assert second.headers["Location"] == first.headers["Location"] == f"/v1/jobs/{first.json['id']}"
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(client.get("/v1/jobs").json["data"]) == 1


def test_listing_jobs_needs_no_key_and_keeps_none(client):
    told = [client.get("/v1/jobs", headers={"Idempotency-Key": ""}) for _ in range(2)]
    assert [answer.status_code for answer in told] == [200, 200]


def test_a_kept_answer_is_not_noted_as_sent(client, gemini):
    client.post(TEXT, json={"prompt": "Hi"})
    states = []
    event.listen(client.application.extensions["llmapi"].engine, "before_cursor_execute", noted(states))
    assert post(client, {"prompt": "Hi"}).json["cache"]["status"] == "hit"
    assert states == ["done"]


def noted(states):
    """Return a listener that keeps the states a key goes through."""

    def listen(_connection, _cursor, statement, parameters, *_):
        if statement.startswith("UPDATE idempotency_keys"):
            states.append(parameters[0])

    return listen


def test_a_request_without_a_key_does_not_touch_the_table_of_keys(make):
    client = make(job_workers=0)
    client.post(TEXT, json=ASKED)
    said = []
    engine = client.application.extensions["llmapi"].engine
    event.listen(engine, "before_cursor_execute", lambda *told: said.append(told[2]))
    assert client.post(TEXT, json={**ASKED, "seed": 1}).status_code == 200
    assert not [statement for statement in said if "idempotency" in statement]
    assert post(client).status_code == 200
    assert [statement for statement in said if "idempotency" in statement]


def test_tenants_do_not_share_keys(make):
    client = make(auth="required", api_keys=(SecretStr("first-key-first-key"), SecretStr("acme:second-key-second")))
    told = [post(client, {**ASKED, "seed": n}, X_API_Key=key) for n, key in enumerate(
        ("first-key-first-key", "acme:second-key-second".partition(":")[2])
    )]
    assert [answer.status_code for answer in told] == [200, 200]


def test_a_body_that_is_too_deep_is_refused_as_without_a_key(client):
    body = b'{"prompt": ' + b"[" * 300 + b"]" * 300 + b"}"
    for headers in ({}, {"Idempotency-Key": "k1"}):
        answer = client.post(TEXT, data=body, content_type="application/json", headers=headers)
        assert (answer.status_code, code(answer)) == (400, "json_too_deep")
