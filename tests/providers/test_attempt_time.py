"""The time one asking of several gets: until its first chunk, and no longer."""

import contextlib
import threading
import time

import pytest

from llmapi.core.errors import CallEnded, ProviderError, ProviderTimeout
from llmapi.core.lifetime import Lifetime
from llmapi.core.routing import Policy
from llmapi.providers.exchange import AttemptTime
from llmapi.providers.openai import OpenAIFormat
from tests.fakes.behaviours import Answer, Drip, Hang

BRIEF = Policy(attempt_timeout=0.3)


@pytest.fixture
def vendor(openai_upstream, transport):
    return OpenAIFormat("openai", "k", openai_upstream.base, transport=transport)


@pytest.fixture
def asked(vendor, question):
    """Ask with little time for the attempt and much for the call."""
    vendor.start()
    return lambda policy=BRIEF, **fields: vendor.ask(question("openai", policy=policy, **{"seconds": 30.0, **fields}))


@pytest.mark.parametrize("odd", [Hang(), Drip(), Drip(where="headers")], ids=["silence", "body", "headers"])
@pytest.mark.parametrize("fields", [{}, {"stream": True}, {"inputs": ("a",)}], ids=["plain", "stream", "embedding"])
def test_an_attempt_without_an_answer_ends_long_before_its_call(asked, openai_upstream, odd, fields):
    openai_upstream.script = [odd]
    life = Lifetime(30.0)
    with pytest.raises(ProviderTimeout):
        asked(**fields, lifetime=life)
    assert life.remaining() > 20.0 and not life.ended


def test_a_stream_that_has_begun_takes_all_the_time_its_call_has(asked, openai_upstream):
    gate, now = threading.Semaphore(2), [0.0]  # two events: the head and the first word
    openai_upstream.script = [Answer("a b c", gate=gate)]
    reply = asked(Policy(attempt_timeout=5.0), stream=True, lifetime=Lifetime(30.0, lambda: now[0]))
    now[0] = 10.0
    for _ in range(9):
        gate.release()
    assert reply.completion().text == "a b c"


def test_events_without_words_are_no_beginning(asked, openai_upstream):
    openai_upstream.script = [Answer(pieces=("",) * 20 + ("a",), gap=0.05)]
    with pytest.raises(ProviderTimeout):
        asked(stream=True)


def test_a_call_with_less_time_than_the_attempt_keeps_its_own(asked, openai_upstream):
    openai_upstream.script = [Hang()]
    began = time.monotonic()
    with pytest.raises(ProviderTimeout):
        asked(Policy(attempt_timeout=30.0), seconds=0.2)
    assert time.monotonic() - began < 10.0


@pytest.mark.parametrize("begun", [False, True], ids=["before the first chunk", "after it"])
def test_who_ends_the_call_ends_the_attempt(asked, openai_upstream, in_thread, begun):
    gate = threading.Semaphore(2 if begun else 0)
    openai_upstream.script = [Answer("a b c", gate=gate)]
    life = Lifetime(30.0)
    asking = in_thread(lambda: asked(Policy(attempt_timeout=20.0), stream=True, lifetime=life).completion())
    openai_upstream.wait_asked()
    life.end()
    assert isinstance(asking.outcome(), CallEnded)
    assert openai_upstream.aborted.wait(5)


@pytest.mark.parametrize("script", [["Fine."], [503], [Hang()]], ids=["answer", "failure", "timeout"])
def test_nothing_stays_with_a_call_of_an_attempt_that_is_over(asked, openai_upstream, script):
    openai_upstream.script = script
    life = Lifetime(30.0)
    with contextlib.suppress(ProviderError):
        asked(lifetime=life).completion()
    assert life._listeners == []


def test_the_time_is_counted_from_the_asking_on_and_given_back_at_the_first_chunk():
    now = [100.0]
    whole = Lifetime(60.0, lambda: now[0])
    now[0] = 110.0
    time = AttemptTime(whole, 5.0)
    assert time.lifetime.remaining() == 5.0
    time.begun()
    assert time.lifetime.remaining() == whole.remaining() == 50.0
