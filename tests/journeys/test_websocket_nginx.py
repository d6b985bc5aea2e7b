"""Streams and WebSockets of the whole service: two workers under gunicorn, a real nginx in front, a stop."""

import contextlib
import json
import os
import threading
import time

import pytest
import urllib3
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.fakes.behaviours import Answer
from tests.journeys.conftest import on
from tests.journeys.service import Service
from tests.journeys.test_nginx import NGINX, Front

KEY = "a-key-for-the-proxy"
OWN = {"Authorization": f"Bearer {KEY}"}
PIECES = tuple(f"w{number} " for number in range(6))
CALL = {"type": "generate", "id": "c1", "task": "text", "request": {"prompt": "x"}, "stream": True}
PATIENCE = 20.0


@pytest.fixture
def service(tmp_path, upstream):
    settings = on(upstream, LLMAPI_AUTH="required", LLMAPI_API_KEYS=KEY, LLMAPI_WORKERS="2", LLMAPI_GRACE="30")
    with Service(tmp_path, settings) as running:
        yield running


@pytest.fixture
def front(tmp_path, service):
    running = Front(tmp_path, service.port)
    yield running
    running.process.terminate()
    running.process.wait(10)


@contextlib.contextmanager
def opened(port, **how):
    with connect(f"ws://127.0.0.1:{port}/v1/ws", open_timeout=PATIENCE, additional_headers=OWN, **how) as ws:
        yield ws


def hear(ws):
    return json.loads(ws.recv(PATIENCE))


@pytest.mark.skipif(NGINX is None and "CI" not in os.environ, reason="no nginx on this machine")
def test_a_socket_through_the_proxy_is_quick_and_its_end_is_noticed(front, upstream):
    gate = threading.Semaphore(1)
    upstream.default = Answer("", pieces=PIECES, gate=gate)
    own_page = f"http://127.0.0.1:{front.port}"
    with opened(front.port, origin=own_page) as ws:
        ws.send(json.dumps(CALL))
        assert hear(ws)["data"] == {"text": "w0 "}  # arrives although the upstream has not gone on
        ws.send(json.dumps({"type": "ping"}))
        assert hear(ws) == {"type": "pong"}
    assert upstream.aborted.wait(3.0)
    with pytest.raises(InvalidStatus, match="403"), opened(front.port, origin="https://evil.example"):
        pass


def test_a_ticket_opens_one_socket_whichever_worker_meets_it(service):
    for _ in range(6):
        ticket = service.ask("POST", "/v1/ws/tickets", {}, **OWN).json()["ticket"]
        address, opened_by = f"ws://127.0.0.1:{service.port}/v1/ws?ticket={ticket}", []

        def use(address=address, opened_by=opened_by):
            with contextlib.suppress(InvalidStatus), connect(address, open_timeout=PATIENCE):
                opened_by.append(address)

        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert len(opened_by) == 1


def test_a_stream_is_read_on_byte_for_byte_whichever_worker_is_met(service, upstream):
    gate = threading.Semaphore(2)
    upstream.default = Answer("", pieces=PIECES, gate=gate)
    asked = {"prompt": "x", "stream": True, "on_disconnect": "finish"}
    http = urllib3.PoolManager(timeout=PATIENCE)
    url = f"{service.url}/v1/text/generate"
    answer = http.request("POST", url, json=asked, headers=OWN, preload_content=False)
    begun = b""
    while b"w1" not in begun:
        begun += answer.read1(4096)
    answer.close()
    found = []

    def read_on():
        with urllib3.PoolManager(timeout=PATIENCE) as fresh:  # a connection of its own: any worker may get it
            id = answer.headers["X-Stream-ID"]
            told = fresh.request("GET", f"{service.url}/v1/streams/{id}", headers={**OWN, "Last-Event-ID": "1"})
            found.append(told.data.replace(b": ping\n\n", b""))

    threads = [threading.Thread(target=read_on) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.release(len(PIECES))
    for thread in threads:
        thread.join(PATIENCE)
    assert len(found) == 8
    assert len(set(found)) == 1
    assert found[0].startswith(b'id: 2\nevent: chunk\ndata: {"text":"w2 "}')
    assert found[0].count(b"event: done") == 1
    assert len(upstream.asked) == 1


def test_at_a_stop_sockets_are_told_so_and_a_running_call_is_finished(service, upstream):
    gate = threading.Semaphore(1)
    upstream.default = Answer("", pieces=PIECES, gate=gate)
    with opened(service.port) as idle, opened(service.port) as calling:
        calling.send(json.dumps(CALL))
        assert hear(calling)["type"] == "chunk"
        begun = time.monotonic()
        service.process.terminate()
        with pytest.raises(ConnectionClosed):
            idle.recv(PATIENCE)
        assert (idle.close_code, time.monotonic() - begun < 10.0) == (1001, True)  # not at the end of the grace time
        gate.release(len(PIECES))
        assert [hear(calling)["type"] for _ in PIECES] == ["chunk"] * (len(PIECES) - 1) + ["done"]
        with pytest.raises(ConnectionClosed):
            calling.recv(PATIENCE)
        assert calling.close_code == 1001
    assert service.stop() == 0
    assert time.monotonic() - begun < 30.0
