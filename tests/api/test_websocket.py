"""One WebSocket, many calls: each as over REST, all of them over when the socket is."""

import contextlib
import json
import socket
import threading
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from werkzeug.serving import make_server

from llmapi.api.websocket import CALLS
from llmapi.setting_tables import QuotaSettings
from llmapi.settings import Limits
from tests.fakes.behaviours import Answer

PIECES = tuple(f"w{number} " for number in range(4))
PATIENCE = 10.0
TEXT = {"type": "generate", "task": "text", "request": {"prompt": "Count.", "cache": {"mode": "bypass"}}}


class Talk:
    """A client that knows our messages."""

    def __init__(self, ws):
        self.ws = ws

    def say(self, **message):
        self.ws.send(json.dumps(message))

    def hear(self):
        return json.loads(self.ws.recv(PATIENCE))

    def ask(self, **message):
        self.say(**message)
        return self.hear()

    def closed(self):
        """Return the code with which it was closed."""
        with pytest.raises(ConnectionClosed):
            while True:
                self.ws.recv(PATIENCE)
        return self.ws.close_code


@pytest.fixture
def serve(make):
    """A maker of served applications: serve(setting=…) is the address of its WebSocket; `serve.client` asks by HTTP."""
    with contextlib.ExitStack() as stack:

        def run(**settings):
            run.client = make(**settings)
            server = make_server("127.0.0.1", 0, run.client.application, threaded=True)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            run.services = run.client.application.extensions["llmapi"]
            return f"ws://127.0.0.1:{server.server_port}/v1/ws"

        yield run


@pytest.fixture
def open_talk(serve):
    """A maker of clients of one service."""
    with contextlib.ExitStack() as stack:

        def open_one(address=None, **how):
            return Talk(stack.enter_context(connect(address or open_one.address, open_timeout=PATIENCE, **how)))

        open_one.address = serve()
        yield open_one


@pytest.fixture
def talk(open_talk):
    return open_talk()


def test_a_call_is_answered_as_over_rest(talk, serve, gemini):
    told = talk.ask(**TEXT, id="c1")
    over_rest = serve.client.post("/v1/text/generate", json=TEXT["request"]).json
    assert (told["type"], told["id"]) == ("done", "c1")
    assert told["data"]["output"] == over_rest["output"]
    assert set(told["data"]) == set(over_rest)


def test_a_streamed_call_comes_in_numbered_chunks_and_a_last_word(talk, gemini):
    gemini.default = Answer("", pieces=PIECES)
    talk.say(**TEXT, id="c1", stream=True)
    heard = [talk.hear() for _ in range(len(PIECES) + 1)]
    assert [each["type"] for each in heard] == ["chunk"] * len(PIECES) + ["done"]
    assert [each["seq"] for each in heard[:-1]] == list(range(len(PIECES)))
    assert "".join(each["data"]["text"] for each in heard[:-1]) == "".join(PIECES)


@pytest.mark.parametrize(
    ("task", "request_"),
    [
        ("code", {"prompt": "x", "language": "python"}),
        ("chat", {"messages": [{"role": "user", "content": "x"}]}),
        ("classify", {"text": "x", "labels": ["fine", "bad"]}),
    ],
)
def test_every_task_can_be_asked(talk, task, request_):
    told = talk.ask(type="generate", id="c", task=task, request=request_)
    assert (told["type"], told["data"]["task"]) == ("done", task)


def test_calls_run_beside_each_other_and_answers_find_their_call(talk, gemini):
    gates = [threading.Semaphore(0) for _ in range(3)]
    gemini.behaviour = lambda asked: Answer(
        "", pieces=("said",), gate=gates[int(asked.body["contents"][0]["parts"][0]["text"])]
    )
    for number in range(3):
        request = {"prompt": str(number), "cache": {"mode": "bypass"}}
        talk.say(type="generate", id=f"c{number}", task="text", request=request, stream=True)
    for number in (2, 0, 1):
        gates[number].release()
        assert [talk.hear()["id"], talk.hear()["id"]] == [f"c{number}"] * 2


def test_a_cancelled_call_ends_upstream_too(talk, gemini):
    gemini.default = Answer("", pieces=PIECES, gate=threading.Semaphore(1))
    talk.say(**TEXT, id="c1", stream=True)
    assert talk.hear()["type"] == "chunk"
    told = talk.ask(type="cancel", id="c1")
    assert (told["type"], told["id"], told["data"]["code"]) == ("error", "c1", "cancelled")
    assert gemini.aborted.wait(2.0)
    gemini.default = "Fine."
    assert talk.ask(**TEXT, id="c1")["type"] == "done"  # the id is free again


def test_a_socket_that_is_closed_takes_its_calls_along(talk, gemini):
    gemini.default = Answer("", pieces=PIECES, gate=threading.Semaphore(1))
    talk.say(**TEXT, id="c1", stream=True)
    talk.hear()
    talk.ws.close()
    assert gemini.aborted.wait(2.0)


@pytest.mark.parametrize(
    ("said", "code", "field"),
    [
        ("{", "malformed_json", None),
        ('{"type": "ping", "type": "ping"}', "malformed_json", None),
        ("[]", "malformed_json", None),
        ('{"type": "sing", "id": "c9"}', "validation_error", "type"),
        ('{"type": ["ping"]}', "validation_error", "type"),
        ('{"type": "ping", "more": 1}', "validation_error", "more"),
        ('{"type": "cancel", "id": "c9"}', "not_found", None),
        ('{"type": "generate", "id": "c9", "task": "text", "request": {"promt": "x"}}', "validation_error", None),
        ('{"type": "generate", "id": "c9", "task": "text", "request": {"seed": ""}}', "validation_error", None),
        ('{"type": "generate", "id": "c9", "task": "draw", "request": {}}', "validation_error", "task"),
        (
            '{"type": "generate", "id": "c9", "task": "text", "request": {"prompt": "x", "on_disconnect": "finish"}}',
            "validation_error",
            "request.on_disconnect",
        ),
        ('{"type": "subscribe", "topic": "job"}', "validation_error", "job_id"),
        ('{"type": "subscribe", "topic": "job", "job_id": "job_1"}', "not_found", None),
        ('{"type": "unsubscribe", "topic": "usage"}', "not_found", None),
    ],
)
def test_what_is_wrong_with_a_message_is_told_as_a_problem_and_the_socket_stays_open(talk, said, code, field):
    talk.ws.send(said)
    told = talk.hear()
    assert (told["type"], told["data"]["code"], told.get("id")) == ("error", code, "c9" if "c9" in said else None)
    assert field is None or field in [each["field"] for each in told["data"]["errors"]]
    assert talk.ask(type="ping", id="p") == {"type": "pong", "id": "p"}


def test_what_a_provider_does_wrong_is_told_with_the_codes_of_rest(talk, gemini):
    gemini.default = 401
    told = talk.ask(**TEXT, id="c1")
    assert (told["type"], told["data"]["code"], told["data"]["status"]) == ("error", "provider_invalid", 502)


def test_a_dry_run_asks_nobody(talk, gemini):
    told = talk.ask(type="generate", id="c", task="text", request={"prompt": "x", "dry_run": True})
    assert (told["type"], told["data"]["output"], gemini.asked) == ("done", None, [])


def test_calls_count_for_their_routes_limit(serve, open_talk):
    talk = open_talk(serve(limits=Limits(text="2/minute")))
    told = [talk.ask(**TEXT, id=str(number)) for number in range(3)]
    assert [each["type"] for each in told] == ["done", "done", "error"]
    assert told[2]["data"]["code"] == "rate_limited"
    assert serve.client.post("/v1/text/generate", json={"prompt": "x"}).status_code == 429
    other = {"text": "x", "labels": ["fine", "bad"]}
    assert talk.ask(type="generate", id="c", task="classify", request=other)["type"] == "done"


def test_calls_hold_their_keys_places_until_they_have_ended(serve, open_talk, gemini):
    talk, gate = open_talk(serve(quotas=QuotaSettings(key_concurrency=1))), threading.Semaphore(1)
    gemini.default = Answer("", pieces=PIECES, gate=gate)
    assert talk.ask(**TEXT, id="1", stream=True)["type"] == "chunk"
    assert talk.ask(**TEXT, id="2")["data"]["code"] == "rate_limited"
    assert serve.client.post("/v1/text/generate", json={"prompt": "x"}).status_code == 429
    talk.say(type="cancel", id="1")
    while talk.hear()["type"] not in ("error", "done"):
        pass
    gemini.default = Answer("Fine.")
    assert talk.ask(**TEXT, id="3")["type"] == "done"


def test_a_socket_has_so_many_calls_at_once_and_each_id_once(talk, gemini):
    gemini.default = Answer("", pieces=PIECES, gate=threading.Semaphore(0))
    for number in range(CALLS):
        talk.say(**TEXT, id=str(number), stream=True)
    assert talk.ask(**TEXT, id="0")["data"]["errors"] == [{"field": "id", "message": "is in use"}]
    assert talk.ask(**TEXT, id="more")["data"]["code"] == "overloaded"


def test_a_job_is_told_of_until_it_ends(talk, serve, gemini):
    gate = threading.Semaphore(0)
    gemini.behaviour = lambda _: gate.acquire(timeout=PATIENCE) and "Fine."
    job = serve.client.post("/v1/jobs", json={"task": "text", "request": {"prompt": "x"}}).json["id"]
    assert talk.ask(type="subscribe", topic="job", job_id=job, id="s")["type"] == "subscribed"
    gate.release()
    told = [talk.hear()]
    while told[-1]["data"]["status"] not in ("succeeded", "failed"):
        told.append(talk.hear())
    assert {(each["type"], each["topic"], each["job_id"], each["id"]) for each in told} == {("event", "job", job, "s")}
    assert told[-1]["data"]["result"]["output"]["text"] == "Fine."
    assert talk.ask(type="unsubscribe", topic="job", job_id=job)["data"]["code"] == "not_found"  # it ended by itself


def test_usage_is_told_of_the_tenants_own_calls_only(serve, open_talk):
    address = serve(auth="required", api_keys="acme:key-of-acme,other:key-of-other")
    acme, other = (open_talk(address, additional_headers={"X-API-Key": f"key-of-{name}"}) for name in ("acme", "other"))
    for talk in (acme, other):
        assert talk.ask(type="subscribe", topic="usage") == {"type": "subscribed", "topic": "usage"}
    asked = serve.client.post("/v1/text/generate", json={"prompt": "x"}, headers={"X-API-Key": "key-of-acme"}).json
    told = acme.hear()
    assert (told["type"], told["topic"], told["data"]["call_id"]) == ("event", "usage", asked["id"])
    assert told["data"]["usage"] == asked["usage"]
    assert told["data"]["cost"] == asked["cost"]
    assert other.ask(type="ping")["type"] == "pong"  # and nothing before it
    assert acme.ask(type="unsubscribe", topic="usage")["type"] == "unsubscribed"
    serve.client.post("/v1/text/generate", json={"prompt": "y"}, headers={"X-API-Key": "key-of-acme"})
    assert acme.ask(type="ping")["type"] == "pong"


def refused(address, **how):
    with pytest.raises(InvalidStatus) as caught, connect(address, open_timeout=PATIENCE, **how):
        pass
    response = caught.value.response
    return response.status_code, json.loads(response.body)["code"]


def test_a_key_or_a_ticket_opens_a_socket_and_a_ticket_does_so_once(serve, open_talk):
    address = serve(auth="required", api_keys="a-good-key")
    assert refused(address) == (401, "unauthenticated")
    assert refused(address, additional_headers={"X-API-Key": "a-bad-key"}) == (401, "unauthenticated")
    told = serve.client.post("/v1/ws/tickets", headers={"X-API-Key": "a-good-key"}).json
    assert told["expires_in"] == 30
    assert open_talk(f"{address}?ticket={told['ticket']}").ask(type="ping") == {"type": "pong"}
    assert refused(f"{address}?ticket={told['ticket']}") == (401, "unauthenticated")
    assert refused(f"{address}?key=a-good-key") == (400, "key_in_address")
    assert serve.client.post("/v1/ws/tickets").status_code == 401


def test_pages_of_other_sites_may_not_open_a_socket(serve, open_talk):
    address = serve(cors_origins="https://app.example")
    own = address.replace("ws://", "http://").removesuffix("/v1/ws")
    for origin in ("https://evil.example", "null", own + ".evil.example", own.replace("http", "ftp")):
        assert refused(address, origin=origin) == (403, "forbidden")
    for origin in ("https://app.example", own):
        assert open_talk(address, origin=origin).ask(type="ping") == {"type": "pong"}


def test_a_plain_request_is_told_what_the_address_speaks(serve):
    serve()
    answer = serve.client.get("/v1/ws")
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "Upgrade")


def test_what_is_too_big_or_no_text_closes_the_socket_with_its_reason(serve, open_talk):
    address = serve(max_body=2000)
    assert open_talk(address).ask(type="ping", id="x" * 64)["type"] == "pong"
    big, binary, broken, many = (open_talk(address) for _ in range(4))
    big.ws.send("x" * 2001)
    binary.ws.send(b"{}")
    broken.ws.socket.sendall(b"\xff" * 20)
    with contextlib.suppress(ConnectionClosed):
        for _ in range(400):
            many.say(type="ping")
    assert [each.closed() for each in (big, binary, broken, many)] == [1009, 1003, 1002, 1008]


def test_a_message_in_pieces_is_one_message(talk):
    talk.ws.send(iter(['{"type": ', '"pi', 'ng"}']))
    assert talk.hear() == {"type": "pong"}


def masked(text):
    """Return a client's frame of 126 bytes to 64 kB."""
    return b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text.encode()


def test_a_client_that_does_not_read_is_cut_off_and_its_calls_with_it(open_talk, gemini):
    gemini.default = Answer("", pieces=("x" * 100_000,) * 400)
    host, port = open_talk.address.removeprefix("ws://").removesuffix("/v1/ws").split(":")
    lines = ["GET /v1/ws HTTP/1.1", f"Host: {host}:{port}", "Connection: Upgrade", "Upgrade: websocket"]
    lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""]
    with socket.create_connection((host, int(port)), PATIENCE) as deaf:
        deaf.sendall("\r\n".join(lines).encode())
        assert deaf.recv(4096).startswith(b"HTTP/1.1 101")
        deaf.sendall(masked(json.dumps({**TEXT, "id": "c1", "stream": True})))
        assert gemini.aborted.wait(PATIENCE)


def test_the_service_stops_with_a_reason_and_lets_calls_end_in_time(open_talk, serve, gemini):
    gate = threading.Semaphore(1)
    gemini.default = Answer("", pieces=PIECES, gate=gate)
    idle, calling = open_talk(), open_talk()
    calling.say(**TEXT, id="c1", stream=True)
    assert calling.hear()["type"] == "chunk"
    serve.services.drain()
    assert idle.closed() == 1001
    assert calling.ask(**TEXT, id="late")["data"]["code"] == "overloaded"
    gate.release(len(PIECES))
    assert [calling.hear()["type"] for _ in PIECES] == ["chunk"] * (len(PIECES) - 1) + ["done"]
    assert calling.closed() == 1001


def test_idle_sockets_cost_no_thread(open_talk):
    open_talk().ask(type="ping")
    before = set(threading.enumerate())
    talks = [open_talk() for _ in range(20)]
    assert [talk.ask(type="ping")["type"] for talk in talks] == ["pong"] * 20
    ours = [each for each in set(threading.enumerate()) - before if "recv_events" not in each.name]
    end = time.monotonic() + PATIENCE
    while [each for each in ours if each.is_alive() and "process_request" in each.name] and time.monotonic() < end:
        ours[0].join(0.01)
    assert [each.name for each in ours if each.is_alive() and "socket" in each.name] == []
