"""The way to the network under TLS: whom it trusts, and that time is kept there too."""

import socket
import ssl

import httpx
import pytest

from llmapi.core.errors import CallEnded, ProviderTimeout, ProviderUnavailable
from llmapi.core.lifetime import Lifetime
from llmapi.providers.transport import Transport
from tests.fakes.behaviours import Drip, Hang
from tests.fakes.certificates import server_context
from tests.fakes.openai import FakeOpenAI
from tests.providers.conftest import asked_within

QUESTION = {"model": "m", "messages": []}


@pytest.fixture
def client(transport):
    """Trusts whom everybody trusts."""
    return httpx.Client(transport=transport.adapter())


def test_a_trusted_server_is_spoken_to_under_tls(tmp_path):
    server, authority = server_context(tmp_path)
    transport = Transport(tls=ssl.create_default_context(cafile=authority))
    with FakeOpenAI(tls=server) as upstream, httpx.Client(transport=transport.adapter()) as client:
        for _ in range(3):
            assert client.post(upstream.base + "/chat/completions", json=QUESTION).status_code == 200
        assert upstream.connections == 1
        transport.close()


def test_a_server_nobody_vouches_for_is_not_spoken_to(tmp_path, client):
    server, _ = server_context(tmp_path)
    with FakeOpenAI(tls=server) as upstream:
        with pytest.raises(ProviderUnavailable, match="trusted"):
            client.post(upstream.base + "/chat/completions", json=QUESTION)
        assert upstream.asked == []


@pytest.mark.parametrize("silence", [Hang(), Drip(), Drip(where="headers")], ids=str)
def test_under_tls_the_deadline_holds_too(tmp_path, silence):
    server, authority = server_context(tmp_path)
    client = httpx.Client(transport=Transport(tls=ssl.create_default_context(cafile=authority)).adapter())
    with FakeOpenAI(silence, tls=server) as upstream, pytest.raises(ProviderTimeout):
        asked_within(Lifetime(0.3), lambda: client.post(upstream.base + "/chat/completions", json=QUESTION))


def test_under_tls_an_end_from_another_thread_wakes_a_blocked_read(tmp_path, in_thread):
    server, authority = server_context(tmp_path)
    client = httpx.Client(transport=Transport(tls=ssl.create_default_context(cafile=authority)).adapter())
    lifetime = Lifetime(30.0)
    with FakeOpenAI(Hang(), tls=server) as upstream:
        url = upstream.base + "/chat/completions"
        asking = in_thread(lambda: asked_within(lifetime, lambda: client.post(url, json=QUESTION)))
        upstream.wait_asked()
        lifetime.end()
        assert isinstance(asking.outcome(), CallEnded)


@pytest.mark.parametrize("ended", [False, True], ids=["deadline", "end"])
def test_a_handshake_that_never_comes_ends_with_the_call(client, in_thread, ended):
    with socket.create_server(("127.0.0.1", 0)) as server:
        lifetime = Lifetime(30.0 if ended else 0.2)
        url = f"https://127.0.0.1:{server.getsockname()[1]}/"
        asking = in_thread(lambda: asked_within(lifetime, lambda: client.get(url)))
        peer, _ = server.accept()
        with peer:
            peer.recv(65536)  # the client's greeting, never answered
            if ended:
                lifetime.end()
            assert isinstance(asking.outcome(), CallEnded if ended else ProviderTimeout)
