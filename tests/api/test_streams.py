"""A stream that lost its reader is read on; it is paid once, whoever leaves."""

import threading
import time

import pytest

from llmapi.settings import Limits
from tests.api.reading import events_of
from tests.fakes.behaviours import Answer

PIECES = tuple(f"w{number} " for number in range(8))
ASKED = {
    "/v1/text/generate": {"prompt": "Count."},
    "/v1/code/generate": {"prompt": "Count.", "language": "python"},
    "/v1/chat": {"messages": [{"role": "user", "content": "Count."}]},
}
PATIENCE = 10.0


@pytest.fixture
def client(make):
    return make(limits=Limits(text="1000/minute"), heartbeat=0.2)


def stream(client, route="/v1/text/generate", **more):
    asked = {**ASKED[route], "stream": True, "cache": {"mode": "bypass"}, **more}
    return client.post(route, json=asked, buffered=False)


def blocks(body):
    """Return the events in a stream's bytes, comments left out."""
    return [each + b"\n\n" for each in body.split(b"\n\n") if each and not each.startswith(b":")]


def taken(answer, count):
    """Read `count` events and hang up; returns them."""
    parts = iter(answer.response)
    found = blocks(next(parts))
    while len(found) < count:
        found += blocks(next(parts))
    answer.close()
    return found


def rest(client, id, last, **how):
    answer = client.get(f"/v1/streams/{id}", headers={"Last-Event-ID": str(last)} if last >= 0 else {}, **how)
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
    return blocks(answer.data)


@pytest.mark.parametrize("route", ASKED)
def test_a_stream_is_read_again_byte_for_byte(client, gemini, route):
    gemini.default = Answer("", pieces=PIECES)
    answer = stream(client, route)
    whole = blocks(answer.data)
    assert rest(client, answer.headers["X-Stream-ID"], -1) == whole
    assert len(whole) > 1
    assert len(gemini.asked) == 1


@pytest.mark.parametrize("cut", range(len(PIECES) + 2))
def test_a_stream_cut_at_any_event_and_resumed_says_the_same_and_is_asked_for_once(client, gemini, cut):
    gate = threading.Semaphore(cut)
    gemini.default = Answer("", pieces=PIECES, gate=gate)
    answer = stream(client, on_disconnect="finish")
    begin = taken(answer, cut)
    gate.release(len(PIECES))
    whole = begin + rest(client, answer.headers["X-Stream-ID"], len(begin) - 1)
    events = events_of(b"".join(whole))
    assert [event.id for event in events] == [str(number) for number in range(len(PIECES) + 1)]
    assert "".join(event.data["text"] for event in events[:-1]) == "".join(PIECES)
    assert events[-1].kind == "done"
    assert len(gemini.asked) == 1
    assert rest(client, answer.headers["X-Stream-ID"], -1) == whole


def test_by_default_a_stream_whose_reader_left_is_cancelled_upstream_and_says_so(client, gemini):
    gemini.default = Answer("", pieces=PIECES, gate=threading.Semaphore(2))
    answer = stream(client)
    begun = time.monotonic()
    begin = taken(answer, 2)
    assert gemini.aborted.wait(2.0)
    last = events_of(b"".join(rest(client, answer.headers["X-Stream-ID"], 1)))
    assert time.monotonic() - begun < 2.0
    assert [(event.id, event.kind, event.data["code"]) for event in last] == [("2", "error", "cancelled")]
    assert len(begin) == 2


def test_a_finished_stream_goes_on_alone_and_is_counted_once(client, gemini):
    gate = threading.Semaphore(1)
    gemini.default = Answer("", pieces=PIECES, gate=gate)
    answer = stream(client, on_disconnect="finish")
    taken(answer, 1)
    gate.release(len(PIECES))
    assert events_of(b"".join(rest(client, answer.headers["X-Stream-ID"], 0)))[-1].kind == "done"
    counted = [row for row in client.get("/metrics").text.splitlines() if row.startswith("llmapi_calls_total{")]
    assert len(gemini.asked) == 1
    assert sum(float(row.rsplit(" ", 1)[1]) for row in counted) == 1.0


def test_a_second_reader_keeps_a_stream_alive_when_the_first_one_leaves(client, gemini):
    gate = threading.Semaphore(1)
    gemini.default = Answer("", pieces=PIECES, gate=gate)
    answer = stream(client)
    second = client.get(f"/v1/streams/{answer.headers['X-Stream-ID']}", buffered=False)
    parts = iter(second.response)
    while not blocks(next(parts)):
        pass
    taken(answer, 1)
    gate.release(len(PIECES))
    assert events_of(b"".join(parts))[-1].kind == "done"


def test_silence_is_filled_with_comments(client, gemini):
    gate = threading.Semaphore(1)
    gemini.default = Answer("", pieces=PIECES, gate=gate)
    answer = stream(client, on_disconnect="finish")
    taken(answer, 1)
    parts = iter(client.get(f"/v1/streams/{answer.headers['X-Stream-ID']}?starting_after=0", buffered=False).response)
    assert [next(parts), next(parts)] == [b": ping\n\n"] * 2
    gate.release(len(PIECES))
    assert len([each for part in parts for each in blocks(part)]) == len(PIECES)


@pytest.mark.parametrize(
    ("after", "header", "first"), [("", None, 0), ("?starting_after=2", None, 3), ("?starting_after=2", "5", 6)]
)
def test_where_to_go_on_is_said_in_the_address_or_the_header_which_wins(client, gemini, after, header, first):
    gemini.default = Answer("", pieces=PIECES)
    first_answer = stream(client)
    assert b"event: done" in first_answer.data
    id = first_answer.headers["X-Stream-ID"]
    headers = {} if header is None else {"Last-Event-ID": header}
    answer = client.get(f"/v1/streams/{id}{after}", headers=headers)
    assert events_of(answer.data)[0].id == str(first)


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "99999999999"])
def test_a_place_that_is_no_number_is_refused(client, after):
    asked = [client.get(f"/v1/streams/any?starting_after={after}")]
    asked.append(client.get("/v1/streams/any", headers={"Last-Event-ID": after}))
    assert [answer.status_code for answer in asked] == [422, 422]


def test_an_unknown_stream_and_a_foreign_one_are_the_same_404(make, gemini):
    client = make(auth="required", api_keys="acme:key-of-acme,other:key-of-other")
    own, foreign = ({"Authorization": f"Bearer key-of-{name}"} for name in ("acme", "other"))
    answer = client.post("/v1/text/generate", json={"prompt": "x", "stream": True}, headers=own)
    assert b"event: done" in answer.data
    told = []
    for id, headers in ((answer.headers["X-Stream-ID"], foreign), ("stream_" + "0" * 26, own)):
        found = client.get(f"/v1/streams/{id}", headers={**headers, "X-Request-ID": "same"})
        told.append((found.status_code, found.data))
    assert told[0] == told[1]
    assert told[0][0] == 404


def test_a_call_that_fails_before_its_first_word_is_no_stream(client, gemini):
    gemini.default = 401
    answer = stream(client)
    assert (answer.status_code, "X-Stream-ID" in answer.headers) == (502, False)


def test_only_cancel_and_finish_can_be_wanted(client):
    answer = stream(client, on_disconnect="explode")
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "on_disconnect")


@pytest.mark.parametrize("door", ["/v1/chat/completions", "/v1/responses"])
def test_streams_of_openai_s_doors_are_read_on_too(client, gemini, door):
    gemini.default = Answer("", pieces=PIECES)
    asked = {"messages": [{"role": "user", "content": "x"}]} if "chat" in door else {"input": "x"}
    answer = client.post(door, json={"model": "default", "stream": True, **asked})
    events = answer.data.replace(b": ping\n\n", b"").split(b"\n\n")[:-1]
    rest = client.get(f"/v1/streams/{answer.headers['X-Stream-ID']}", headers={"Last-Event-ID": "1"}).data
    assert rest.replace(b": ping\n\n", b"") == b"".join(event + b"\n\n" for event in events[2:])
    assert len(gemini.asked) == 1
