"""The provider that ships with us, with its real models: text from a child process, vectors from this one."""

import contextlib
import os
import signal
import threading
import time
from itertools import count

import httpx2
import pytest

from llmapi.core.calls import Completion, Facts, Message
from llmapi.core.errors import CallEnded, ContextTooLong, ProviderBroken, ProviderTimeout
from llmapi.core.lifetime import Lifetime
from llmapi.core.reply import Reply
from llmapi.providers.embeddings import MiniLM
from llmapi.providers.llama import MODEL
from llmapi.providers.llama_keeper import Endpoint, read_endpoint
from llmapi.providers.local import FreshTransport, Local, open_local
from llmapi.settings import Settings
from llmapi.vendors import open_providers

AGE = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"], "additionalProperties": False}
ENDLESS = {"max_tokens": 1900, "schema": {"type": "array", "items": {"type": "integer"}, "minItems": 300}}  # 40 s long


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    provider = open_local(tmp_path_factory.mktemp("local"), slots=2)
    provider.start()
    yield provider
    provider.close()


@pytest.fixture
def asked(question):
    """Return a maker of calls to the local model, whose first may have to wait for it."""
    return lambda **fields: question("local", MODEL, **{"seconds": 60.0, "max_tokens": 8, "seed": 7, **fields})


def test_what_talks_to_it_is_loaded_beforehand_and_beside_no_other_library(tmp_path, transport, in_thread):
    local = open_providers(Settings(data_dir=tmp_path), transport, tmp_path)["local"]
    with transport.loading:
        starting = in_thread(local.start)
        starting.join(0.3)
        assert starting.is_alive()
    starting.outcome()
    local.close()


class Servers:
    """Servers that exist on paper; each is gone when the next is wanted."""

    def __init__(self):
        self.numbers, self.closed = count(1), False
        self.next()

    def next(self):
        self.now = Endpoint(f"http://127.0.0.1:{next(self.numbers)}/v1", "key", 1)

    def endpoint(self, lifetime):
        return self.now

    def health(self):
        return {"status": "ok", "state": "running"}

    def close(self):
        self.closed = True


class Adapter:
    """Says where it asks."""

    def __init__(self, base_url, api_key):
        self.base_url, self.calls, self.closed = base_url, [], False

    def ask(self, call):
        self.calls.append(call)
        return Reply.of(Completion(self.base_url), Facts(provider="a name of its own"))

    def close(self):
        self.closed = True


@pytest.fixture
def adapters():
    return []


@pytest.fixture
def on_paper(adapters):
    servers = Servers()
    return servers, Local(servers, MiniLM(), lambda *where: adapters.append(Adapter(*where)) or adapters[-1])


def test_it_writes_text_within_the_limit(local, asked):
    reply = local.ask(asked())
    answer = reply.completion()
    assert answer.text.strip()
    assert (answer.usage.output_tokens, answer.finish) == (8, "length")
    assert answer.usage.input_tokens > 0


def test_a_reply_names_the_provider_and_the_model(local, asked):
    assert local.ask(asked()).facts == Facts(provider="local", model=MODEL)
    assert local.ask(asked(messages=(), inputs=("a",))).facts == Facts(provider="local", model=MODEL)


def test_a_plain_answer_is_one_chunk_and_a_stream_is_many(local, asked):
    assert len(list(local.ask(asked()))) == 1
    assert len(list(local.ask(asked(stream=True)))) > 3


def test_it_answers_in_the_form_of_a_schema(local, asked):
    answer = local.ask(asked(schema=AGE, max_tokens=40)).completion()
    assert answer.text.replace(" ", "").replace("\n", "").startswith('{"age":')


def test_it_tells_how_likely_its_tokens_were(local, asked):
    answer = local.ask(asked(logprobs=3, max_tokens=3, temperature=0.0)).completion()
    assert [len(token.top) for token in answer.logprobs] == [3, 3, 3]
    assert all(token.logprob == max(score for _, score in token.top) for token in answer.logprobs)


def test_a_prompt_beyond_its_context_is_the_caller_s_mistake(local, asked):
    with pytest.raises(ContextTooLong):
        local.ask(asked(messages=(Message("user", "word " * 3000),)))


def test_calls_one_after_another_never_meet_a_closed_connection(local, asked):
    for number in range(30):
        assert local.ask(asked(stream=number % 2 == 0, temperature=0.0, max_tokens=3)).completion().text


@pytest.mark.parametrize("stream", [False, True])
def test_the_model_stops_when_a_call_is_ended(local, asked, in_thread, stream):
    with contextlib.closing(local.ask(asked(stream=True, **ENDLESS))):  # keeps one of two slots busy
        life = Lifetime(60.0)
        waiting = in_thread(lambda: local.ask(asked(lifetime=life, stream=stream, **ENDLESS)).completion())
        threading.Timer(0.5, life.end).start()
        assert isinstance(waiting.outcome(), CallEnded)
        before = time.monotonic()
        assert local.ask(asked()).completion()
        assert time.monotonic() - before < 15.0  # what was ended would take half a minute


def test_a_connection_is_used_once(local):
    endpoint = local._server.endpoint(Lifetime(60.0))
    headers = {"connection": "keep-alive", "authorization": f"Bearer {endpoint.api_key}"}
    answer = FreshTransport().send("GET", httpx2.URL(endpoint.base_url + "/models"), headers, b"")
    assert ("Connection", "close") in answer.headers
    answer.close()


def test_an_answer_that_takes_too_long_is_given_up(local, asked):
    with pytest.raises(ProviderTimeout):
        local.ask(asked(seconds=0.5, **ENDLESS)).completion()


def test_a_killed_server_fails_one_call_and_the_next_waits_for_its_successor(local, asked):
    endpoint = local._server.endpoint(Lifetime(60.0))
    reply = local.ask(asked(stream=True, **ENDLESS))
    os.kill(endpoint.pid, signal.SIGKILL)
    with pytest.raises(ProviderBroken):
        reply.completion()
    while read_endpoint(local._server._folder) == endpoint:
        threading.Event().wait(0.01)  # until it is noticed; the gateway would ask again
    assert local.ask(asked()).completion().text.strip()


def test_inputs_become_vectors_that_are_paid_by_the_token(on_paper, asked):
    _, local = on_paper
    answer = local.ask(asked(messages=(), inputs=("a cat", "a dog"))).completion()
    assert len(answer.vectors) == 2 and answer.vectors[0] != answer.vectors[1]
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.finish) == (8, 0, "stop")
    assert local.health()["embedder"] == "loaded"


def test_inputs_of_a_call_that_is_over_are_not_embedded(on_paper, asked):
    _, local = on_paper
    ended = asked(messages=(), inputs=("a",))
    ended.lifetime.end()
    with pytest.raises(CallEnded):
        local.ask(ended)
    with pytest.raises(ProviderTimeout):
        local.ask(asked(messages=(), inputs=("a",), seconds=0.0))


def test_one_adapter_serves_until_the_server_is_another(on_paper, asked, adapters):
    servers, local = on_paper
    assert [local.ask(asked()).completion().text for _ in range(2)] == ["http://127.0.0.1:1/v1"] * 2
    servers.next()
    assert local.ask(asked()).completion().text == "http://127.0.0.1:2/v1"
    assert [adapter.closed for adapter in adapters] == [True, False]


def test_close_gives_back_adapter_and_server(on_paper, asked, adapters):
    servers, local = on_paper
    local.ask(asked())
    local.close()
    assert adapters[0].closed and servers.closed


def test_health_tells_of_both_models(on_paper):
    _, local = on_paper
    assert local.health() == {"status": "ok", "state": "running", "embedder": "not loaded"}
