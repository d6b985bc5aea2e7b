"""The way to the network: deadlines, ends, limits, and what becomes of connections."""

import gc
import os
import socket
import time

import httpx
import httpx2
import pytest

from llmapi.core.errors import CallEnded, ProviderTimeout, ProviderUnavailable
from llmapi.core.lifetime import Lifetime
from llmapi.providers.exchange import Exchange, current, during, stepping
from llmapi.providers.sockets import Grip, TimedSocket
from llmapi.providers.transport import Transport
from tests.fakes.behaviours import Answer, Close, Drip, Hang, Raw, Reset
from tests.providers.conftest import address_of, asked_within

QUESTION = {"model": "m", "messages": [{"role": "user", "content": "a b c"}]}
STREAM = {**QUESTION, "stream": True}
FAMILIES = pytest.mark.parametrize("family", [httpx, httpx2], ids=["httpx", "httpx2"])


@pytest.fixture
def client(transport):
    return httpx.Client(transport=transport.adapter())


@pytest.fixture
def ask(client, openai_upstream):
    """Ask the fake within a lifetime."""

    def post(lifetime=None, body=QUESTION):
        with during(Exchange(lifetime or Lifetime(10.0))):
            return client.post(openai_upstream.base + "/chat/completions", json=body)

    return post


def dead_address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


@FAMILIES
def test_both_families_of_httpx_are_served(family, transport, openai_upstream):
    with family.Client(transport=transport.adapter()) as client:
        answer = client.post(openai_upstream.base + "/chat/completions", json=QUESTION)
    assert answer.json()["choices"][0]["message"]["content"] == "Fine."
    assert isinstance(answer, family.Response)


def test_a_connection_serves_many_requests(ask, openai_upstream):
    for _ in range(5):
        ask()
    assert openai_upstream.connections == 1


def test_a_closed_client_leaves_the_pool_to_the_others(transport, openai_upstream):
    for _ in range(3):
        with httpx.Client(transport=transport.adapter()) as client:
            client.post(openai_upstream.base + "/chat/completions", json=QUESTION)
    assert openai_upstream.connections == 1


def test_a_connection_the_server_closed_while_idle_is_not_used_again(ask, openai_upstream):
    ask()
    openai_upstream.drop_idle()
    assert ask().status_code == 200
    assert len(openai_upstream.asked) == 2


@pytest.mark.parametrize("silence", [Hang(), Drip(), Drip(where="headers"), Answer(delay=30)], ids=str)
def test_no_silence_and_no_drip_outlasts_the_deadline(ask, openai_upstream, silence):
    openai_upstream.script = [silence]
    began = time.monotonic()
    with pytest.raises(ProviderTimeout):
        ask(Lifetime(0.15))
    assert 0.14 < time.monotonic() - began < 5.0
    assert openai_upstream.aborted.wait(5)


def test_a_stream_that_never_pauses_long_still_ends_at_the_deadline(ask, openai_upstream):
    openai_upstream.script = [Answer("word " * 1000, gap=0.03)]
    with pytest.raises(ProviderTimeout):
        ask(Lifetime(0.2), STREAM)


def test_without_a_lifetime_the_usual_time_holds(openai_upstream):
    openai_upstream.script = [Hang()]
    client = httpx.Client(transport=Transport(usual_time=0.1).adapter(), timeout=None)
    with pytest.raises(ProviderTimeout):
        client.post(openai_upstream.base + "/chat/completions", json=QUESTION)


@pytest.mark.parametrize("wait", [Hang(), Drip(gap=5), Drip(gap=5, where="headers")], ids=str)
def test_an_end_from_another_thread_wakes_a_blocked_read(ask, openai_upstream, in_thread, wait):
    openai_upstream.script = [wait]
    lifetime = Lifetime(30.0)
    asking = in_thread(lambda: ask(lifetime))
    openai_upstream.wait_asked()
    lifetime.end()
    assert isinstance(asking.outcome(), CallEnded)


class EndsWhileReading(Lifetime):
    """A lifetime that, once armed, ends between the look at its time and the read that follows."""

    armed = False

    def remaining(self):
        left = super().remaining()
        if self.armed:
            self.end()
        return left


def test_our_own_cut_in_a_body_without_length_is_no_whole_answer(client, in_thread):
    lifetime = EndsWhileReading(30.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = in_thread(lambda: half_an_answer(server))
        with during(Exchange(lifetime)), client.stream("GET", address_of(server)) as answer:
            pieces = answer.iter_raw()
            assert next(pieces) == b"half of it"
            lifetime.armed = True
            with pytest.raises(CallEnded):
                next(pieces)
        peer.outcome().close()


def test_a_kept_connection_keeps_the_time_of_the_call_it_serves_now(ask, openai_upstream):
    ask(Lifetime(60.0))
    openai_upstream.script = [Hang()]
    with pytest.raises(ProviderTimeout):
        ask(Lifetime(0.15))  # the first call's time would be a minute
    assert openai_upstream.connections == 1


def test_a_connection_idle_for_too_long_is_not_trusted(openai_upstream):
    client = httpx.Client(transport=Transport(idle_time=0.0).adapter())
    for _ in range(2):
        client.post(openai_upstream.base + "/chat/completions", json=QUESTION)
    assert openai_upstream.connections == 2


def test_a_call_that_is_over_is_forgotten(ask):
    lifetime = Lifetime(10.0)
    held = set()
    lifetime.on_end = lambda tell: held.add(tell) or (lambda: held.discard(tell))
    ask(lifetime)
    assert held == set()


def test_a_socket_listens_only_to_the_call_it_serves_now():
    ours, peers = socket.socketpair()
    sock = TimedSocket(fileno=ours.detach())
    first, second = Lifetime(10.0), Lifetime(10.0)
    with sock, peers:
        Grip(first).take(sock)
        Grip(second).take(sock)
        first.end()
        sock.sendall(b"still here")
        assert peers.recv(100) == b"still here"
        second.end()
        assert peers.recv(100) == b""


def test_an_ended_call_asks_nobody(ask, openai_upstream):
    lifetime = Lifetime(10.0)
    lifetime.end()
    with pytest.raises(CallEnded):
        ask(lifetime)
    assert openai_upstream.asked == []


def test_the_end_of_a_call_does_not_touch_who_has_its_connection_now(ask, openai_upstream, in_thread):
    first = Lifetime(10.0)
    ask(first)
    openai_upstream.script = [Answer(delay=0.1)]
    second = in_thread(ask)
    openai_upstream.wait_asked(2)
    first.end()
    assert second.outcome().status_code == 200
    assert openai_upstream.connections == 1


def test_a_cut_connection_is_never_used_again(ask, openai_upstream):
    openai_upstream.script = [Drip()]
    with pytest.raises(ProviderTimeout):
        ask(Lifetime(0.1))
    assert ask().status_code == 200
    assert openai_upstream.connections == 2


def test_an_answer_left_half_read_closes_its_connection(client, openai_upstream):
    openai_upstream.script = [Answer("word " * 100, gap=0.05)]
    with client.stream("POST", openai_upstream.base + "/chat/completions", json=STREAM) as answer:
        next(answer.iter_bytes())
    assert openai_upstream.aborted.wait(5)


@pytest.mark.parametrize("rudeness", [Reset(), Close()], ids=["reset", "closed"])
def test_a_connection_that_ends_without_an_answer_is_unavailability_and_is_not_repeated(
    ask, openai_upstream, rudeness
):
    openai_upstream.script = [rudeness]
    with pytest.raises(ProviderUnavailable):
        ask()
    assert len(openai_upstream.asked) == 1


def test_a_refused_connection_is_unavailability(client):
    with pytest.raises(ProviderUnavailable):
        client.post(dead_address(), json=QUESTION)


def test_a_name_nobody_knows_is_unavailability(client):
    with pytest.raises(ProviderUnavailable):
        client.get("http://127.0.0.1.nowhere.invalid./")


def test_a_redirect_is_an_answer_and_nothing_is_sent_there(ask, openai_upstream):
    openai_upstream.script = [Raw(b"", 307, headers={"Location": openai_upstream.url + "/elsewhere"})]
    assert ask().status_code == 307
    assert len(openai_upstream.asked) == 1


def test_a_proxy_in_the_environment_is_not_used(ask, openai_upstream, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", dead_address())
    monkeypatch.setenv("ALL_PROXY", dead_address())
    assert ask().status_code == 200


def test_a_stream_is_stepped_within_its_exchange_and_its_reader_stays_outside():
    exchange = Exchange(Lifetime(10.0))
    steps = stepping(exchange, (current.get() for _ in range(2)))
    assert [(step, current.get()) for step in steps] == [(exchange, None), (exchange, None)]


@pytest.fixture
def full_house():
    """An address whose queue is full: who comes now is not let in."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        crowd = [crowding(server.getsockname()) for _ in range(4)]
        yield address_of(server)
        for each in crowd:
            each.close()


def test_an_end_wakes_who_waits_to_be_let_in(client, in_thread, full_house):
    lifetime = Lifetime(30.0)
    asking = in_thread(lambda: asked_within(lifetime, lambda: client.get(full_house)))
    asking.join(0.1)
    lifetime.end()
    assert isinstance(asking.outcome(), CallEnded)


def test_who_does_not_let_us_in_is_unavailable_long_before_the_deadline(full_house):
    client = httpx.Client(transport=Transport(connect_time=0.1).adapter())
    with pytest.raises(ProviderUnavailable):
        asked_within(Lifetime(30.0), lambda: client.get(full_house))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of newer Pythons: the fakes have threads
def test_a_forked_process_opens_connections_of_its_own(ask, openai_upstream):
    ask()
    child = os.fork()
    if child == 0:
        os._exit(0 if ask().status_code == 200 else 1)
    assert os.waitpid(child, 0)[1] == 0
    ask()
    assert openai_upstream.connections == 2


def test_nothing_is_left_open(openai_upstream):
    transport = Transport()
    client = httpx.Client(transport=transport.adapter())
    client.post(openai_upstream.base + "/chat/completions", json=QUESTION)
    client.close()
    transport.close()
    del client, transport
    gc.collect()  # an unclosed socket would be a ResourceWarning, and that an error
    assert openai_upstream.connections == 1


def half_an_answer(server):
    peer, _ = server.accept()
    peer.recv(65536)
    peer.sendall(b"HTTP/1.0 200 OK\r\n\r\nhalf of it")
    return peer


def crowding(address):
    sock = socket.socket()
    sock.setblocking(False)
    sock.connect_ex(address)
    return sock
