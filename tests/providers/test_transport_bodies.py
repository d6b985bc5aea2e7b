"""What an answer's body may be: whole, not too large, unpacked."""

import gzip

import httpx
import pytest

from llmapi.core.errors import ProviderBroken, ProviderInvalid
from llmapi.core.lifetime import Lifetime
from llmapi.providers.exchange import Exchange, during
from llmapi.providers.transport import Transport
from tests.fakes.behaviours import Answer, Raw

QUESTION = {"model": "m", "messages": []}
STREAM = {**QUESTION, "stream": True}


@pytest.fixture
def client(transport):
    return httpx.Client(transport=transport.adapter())


@pytest.fixture
def ask(client, openai_upstream):
    return lambda body=QUESTION: client.post(openai_upstream.base + "/chat/completions", json=body)


@pytest.mark.parametrize("body", [QUESTION, STREAM], ids=["length", "chunked"])
def test_a_cut_answer_is_broken(ask, openai_upstream, body):
    openai_upstream.script = [Answer("a b c d", cut_after=2)]
    with pytest.raises(ProviderBroken):
        ask(body=body)


def test_an_answer_larger_than_allowed_is_refused_before_it_fills_the_memory(openai_upstream):
    client = httpx.Client(transport=Transport(largest=1000).adapter())
    openai_upstream.script = [Answer("x" * 100_000)]
    with pytest.raises(ProviderInvalid, match="too large"):
        client.post(openai_upstream.base + "/chat/completions", json=QUESTION)


def test_a_small_answer_that_unpacks_to_a_large_one_is_refused_too(openai_upstream):
    openai_upstream.script = [Raw(gzip.compress(b" " * 5_000_000), headers={"Content-Encoding": "gzip"})]
    client = httpx.Client(transport=Transport(largest=1_000_000).adapter())
    with pytest.raises(ProviderInvalid, match="too large"):
        client.post(openai_upstream.base + "/chat/completions", json=QUESTION)


def test_an_answer_that_is_packed_although_we_did_not_ask_is_unpacked(ask, openai_upstream):
    openai_upstream.script = [Raw(gzip.compress(b'{"a": 1}'), headers={"Content-Encoding": "gzip"})]
    assert ask().json() == {"a": 1}
    assert openai_upstream.asked[0].headers["accept-encoding"] == "identity"


def test_an_exchange_keeps_the_start_of_the_body_when_asked(client, openai_upstream):
    exchange = Exchange(Lifetime(10.0), keep=10_000)
    with during(exchange):
        answer = client.post(openai_upstream.base + "/chat/completions", json=QUESTION)
    assert exchange.body == answer.content
