"""A socket lives long: what its key may do is asked anew with everything said over it."""

import contextlib
import json
import threading

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from werkzeug.serving import make_server

PATIENCE = 10.0
TEXT = {"type": "generate", "id": "c", "task": "text", "request": {"prompt": "x"}}
USAGE, JOB = {"type": "subscribe", "topic": "usage"}, {"type": "subscribe", "topic": "job", "job_id": "job_x"}


@pytest.fixture
def client(make):
    return make(auth="required")


@pytest.fixture
def ring(client):
    return client.application.extensions["llmapi"].keyring


@pytest.fixture
def address(client):
    server = make_server("127.0.0.1", 0, client.application, threaded=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"ws://127.0.0.1:{server.server_port}/v1/ws"
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def talk(address, **headers):
    with connect(address, additional_headers=headers, open_timeout=PATIENCE) as socket:

        def ask(message):
            socket.send(json.dumps(message))
            return json.loads(socket.recv(PATIENCE))

        yield ask


def test_a_key_that_was_revoked_asks_no_more_over_its_open_socket(address, ring):
    row, key = ring.create("default", name="ci", role="developer")
    with talk(address, **{"X-API-Key": key}) as ask:
        assert ask(TEXT)["type"] == "done"
        ring.revoke("default", row.id)
        assert [ask(message)["data"]["code"] for message in (TEXT, USAGE, JOB)] == ["unauthenticated"] * 3


def test_a_subscription_needs_the_scope_that_its_route_needs(address, ring):
    _, key = ring.create("default", name="ci", role="developer", scopes=["tasks:run"])
    with talk(address, **{"X-API-Key": key}) as ask:
        assert ask(USAGE)["data"]["details"] == {"scope": "usage:read"}
        assert ask(JOB)["data"]["details"] == {"scope": "jobs:read"}


def test_a_ticket_opens_a_socket_for_its_key_and_is_worthless_after_it(client, address, ring):
    row, key = ring.create("default", name="ci", role="developer", scopes=["tasks:run"])
    tickets = [client.post("/v1/ws/tickets", headers={"X-API-Key": key}).json["ticket"] for _ in range(2)]
    with talk(f"{address}?ticket={tickets[0]}") as ask:
        assert ask(USAGE)["data"]["code"] == "forbidden"
    ring.revoke("default", row.id)
    with pytest.raises(InvalidStatus) as refused, talk(f"{address}?ticket={tickets[1]}"):
        pass
    assert refused.value.response.status_code == 401


def test_a_viewer_opens_no_socket(address, ring):
    _, key = ring.create("default", name="ci", role="viewer")
    with pytest.raises(InvalidStatus) as refused, talk(address, **{"X-API-Key": key}):
        pass
    assert refused.value.response.status_code == 403
