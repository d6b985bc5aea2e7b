"""What closes a socket though nobody wished it, and how many there may be."""

import asyncio
import contextlib
import socket
import time

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Ping, TextMessage

from llmapi.api.websocket_hub import Hub
from llmapi.api.websocket_line import Bounds
from llmapi.core.errors import Overloaded

PATIENCE = 10.0


class Listener:
    """A session that says back what it heard."""

    def __init__(self, send, busy=False):
        self.send, self._busy, self.ended = send, busy, 0

    def heard(self, text):
        self.send(text)

    def busy(self):
        return self._busy

    working = busy

    def gone(self):
        self.ended += 1


class Peer:
    """The other end of a socket."""

    def __init__(self, stack, hub, tenant, how):
        theirs, self.socket = (stack.enter_context(each) for each in socket.socketpair())
        self.socket.settimeout(PATIENCE)
        self.ws = Connection(ConnectionType.CLIENT)
        self.session = None
        hub.adopt(theirs, b"", tenant, lambda send: self._made(Listener(send, **how)))

    def _made(self, session):
        self.session = session
        return session

    def next(self):
        """Return the next event; pings are not answered."""
        while True:
            for event in self.ws.events():
                return event
            data = self.socket.recv(4096)
            if not data:
                return None
            self.ws.receive_data(data)

    def until_closed(self, answer=True):
        """Return the code it is closed with, answering pings or not."""
        while not isinstance(event := self.next(), CloseConnection):
            if isinstance(event, Ping) and answer:
                self.socket.sendall(self.ws.send(event.response()))
        return event.code


@pytest.fixture
def make_hub():
    made = []

    def make(most=10, most_of_one=10, **bounds):
        made.append(Hub(Bounds(**bounds), most=most, most_of_one=most_of_one))
        return made[-1]

    yield make
    for hub in made:
        hub.close()


@pytest.fixture
def meet():
    """A maker of peers of a hub."""
    with contextlib.ExitStack() as stack:
        yield lambda hub, tenant="acme", **how: Peer(stack, hub, tenant, how)


def test_who_does_not_answer_a_ping_is_closed(make_hub, meet):
    peer = meet(make_hub(ping=0.05))
    assert isinstance(peer.next(), Ping)
    assert peer.until_closed(answer=False) == 1008


def test_a_socket_on_which_nothing_happens_is_closed_unless_something_is_under_way(make_hub, meet):
    hub = make_hub(ping=0.05, idle=0.2)
    assert meet(hub).until_closed() == 1001
    busy = meet(hub, busy=True)
    for _ in range(8):
        busy.socket.sendall(busy.ws.send(busy.next().response()))
    busy.socket.sendall(busy.ws.send(TextMessage("still here")))
    while not isinstance(event := busy.next(), TextMessage):
        busy.socket.sendall(busy.ws.send(event.response()))
    assert event.data == "still here"


def test_who_does_not_say_goodbye_is_cut_off_and_its_session_told_once(make_hub, meet):
    peer = meet(make_hub(ping=0.05, farewell=0.05))
    while peer.next() is not None:
        pass
    assert peer.session.ended == 1


def test_sockets_are_bounded_for_each_tenant_and_in_all_and_places_become_free(make_hub, meet):
    hub = make_hub(most=3, most_of_one=2)
    first = meet(hub)
    others = [meet(hub), meet(hub, "b")]
    for tenant in ("acme", "b", "c"):
        with pytest.raises(Overloaded):
            meet(hub, tenant)
    first.socket.close()
    end = time.monotonic() + PATIENCE
    while len(others) < 4 and time.monotonic() < end:
        try:
            others.append(meet(hub))
            break
        except Overloaded:
            time.sleep(0.005)
    assert len(others) == 3


def test_a_hub_that_stops_takes_nobody_and_closes_busy_ones_when_the_grace_is_over(make_hub, meet):
    hub = make_hub()
    peer = meet(hub, busy=True)
    hub.drain(1.1)
    with pytest.raises(Overloaded):
        meet(hub)
    begun = time.monotonic()
    assert peer.until_closed() == 1001
    assert 0.05 < time.monotonic() - begun < 1.0


def test_what_is_no_frame_closes_the_socket(make_hub, meet):
    peer = meet(make_hub())
    peer.socket.sendall(b"\xff\xff\xff")
    assert peer.until_closed() == 1002


class Client:
    """What a vendor's library does: closes itself on the loop of the thread it is collected in."""

    def __init__(self, closed):
        self._closed = closed

    async def _close(self):
        await asyncio.sleep(0)
        self._closed.append(True)

    def __del__(self):
        asyncio.get_running_loop().create_task(self._close())


def test_what_libraries_left_on_the_loop_is_done_before_it_closes(make_hub):
    closed = []
    hub = make_hub()
    with contextlib.ExitStack() as stack:
        peer = Peer(stack, hub, "acme", {})
        peer.socket.sendall(peer.ws.send(TextMessage("x")))
        assert isinstance(peer.next(), TextMessage)
        hub.call(lambda: Client(closed) and None)
        session = peer.session
        hub.close()
    session.send("too late")  # from a call's thread
    hub.call(print)
    assert closed == [True]


def test_a_socket_that_cannot_be_taken_over_leaves_its_place_free(make_hub, meet):
    hub = make_hub(most=1)
    closed = socket.socket()
    closed.close()
    with pytest.raises(Overloaded):
        hub.adopt(closed, b"", "acme", Listener)
    peer = meet(hub)
    peer.socket.sendall(peer.ws.send(TextMessage("here")))
    assert isinstance(peer.next(), TextMessage)


def test_who_pings_and_does_not_read_is_cut_off(make_hub, meet):
    peer = meet(make_hub(unsent=10_000))
    with pytest.raises(OSError):
        for _ in range(300):
            peer.socket.sendall(peer.ws.send(Ping(b"x" * 100)) * 100)


def test_a_message_is_measured_in_bytes(make_hub, meet):
    hub = make_hub(message=100)
    fits, wide = meet(hub), meet(hub)
    for peer, text in ((fits, "é" * 50), (wide, "é" * 51)):
        peer.socket.sendall(peer.ws.send(TextMessage(text)))
    assert isinstance(fits.next(), TextMessage)
    assert wide.until_closed() == 1009


def test_who_pings_after_our_goodbye_can_still_say_his(make_hub, meet, caplog):
    peer = meet(make_hub(message=10))
    peer.socket.sendall(peer.ws.send(TextMessage("x" * 11)) + peer.ws.send(Ping()))
    assert peer.until_closed() == 1009
    peer.socket.sendall(peer.ws.send(CloseConnection(1009)))
    assert (peer.socket.recv(1), caplog.records) == (b"", [])
