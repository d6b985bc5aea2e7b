"""A provider that may do better the next time is asked again, politely and not for ever."""

import threading

import pytest

from llmapi.core.calls import Attempt, Chunk, Usage
from llmapi.core.errors import (
    CallEnded,
    ProviderBroken,
    ProviderInvalid,
    ProviderQuotaSpent,
    ProviderRefused,
    ProviderThrottled,
    ProviderTimeout,
    ProviderUnavailable,
)
from llmapi.core.lifetime import Lifetime
from llmapi.gateway.ask import ask_providers
from llmapi.gateway.pipeline import compose
from llmapi.gateway.retry import Retry, nap
from tests.gateway.conftest import HELLO, PATIENCE, a_call, run

DOWN = ProviderUnavailable
CURABLE = [DOWN, ProviderThrottled, ProviderTimeout, ProviderBroken]
FINAL = [ProviderRefused, ProviderInvalid, ProviderQuotaSpent]


@pytest.mark.parametrize("kind", CURABLE)
def test_a_passing_failure_is_asked_again(gateway, provider, naps, kind):
    provider.script = [kind("once"), HELLO]
    reply = gateway(a_call())
    assert reply.completion() == HELLO
    assert reply.facts.attempts == (Attempt("p", "m", kind.code), Attempt("p", "m", "ok", 0.5))
    assert naps == [0.5]


@pytest.mark.parametrize("kind", FINAL)
def test_a_failure_that_asking_again_cannot_cure_is_told_at_once(gateway, provider, naps, kind):
    provider.script = [kind("no")]
    with pytest.raises(kind) as caught:
        gateway(a_call())
    assert (len(provider.asked), naps) == (1, [])
    assert caught.value.attempts == (Attempt("p", "m", kind.code),)


def test_after_the_last_attempt_the_last_failure_is_told_with_all_of_them(gateway, provider, naps):
    provider.script = [DOWN("1", usage=Usage(5)), ProviderThrottled("2"), DOWN("3", usage=Usage(5, 1))]
    with pytest.raises(ProviderUnavailable, match="3") as caught:
        gateway(a_call())
    assert [attempt.status for attempt in caught.value.attempts] == [DOWN.code, ProviderThrottled.code, DOWN.code]
    assert [attempt.wait for attempt in caught.value.attempts] == [0.0, 0.5, 1.0]
    assert caught.value.usage == Usage(10, 1)


def test_the_wait_doubles_up_to_its_cap_and_chance_spreads_it(provider):
    provider.script = [DOWN(str(number)) for number in range(7)]
    for chance, expected in ((1.0, [0.5, 1, 2, 4, 8, 8]), (0.5, [0.25, 0.5, 1, 2, 4, 4]), (0.0, [0.0] * 6)):
        naps, provider.asked = [], []
        patient = Retry(7, 0.5, 8.0, lambda seconds, _: naps.append(seconds), lambda: chance)
        with pytest.raises(ProviderUnavailable):
            compose([patient], ask_providers({"p": provider}, lambda: 0.0))(a_call())
        assert naps == expected


@pytest.mark.parametrize(("hint", "slept"), [(7.0, 7.0), (0.1, 0.5)])
def test_a_provider_is_left_alone_as_long_as_it_asked(gateway, provider, naps, hint, slept):
    provider.script = [ProviderThrottled("busy", retry_after=hint), HELLO]
    gateway(a_call())
    assert naps == [slept]


def test_a_wait_that_does_not_fit_into_the_lifetime_is_not_begun(gateway, provider, naps):
    provider.script = [ProviderThrottled("busy", retry_after=61.0), HELLO]
    with pytest.raises(ProviderThrottled) as caught:
        gateway(a_call(lifetime=Lifetime(60.0)))
    assert (naps, caught.value.retry_after) == ([], 61.0)


def test_the_provider_is_not_asked_for_who_has_left(gateway, provider):
    left = Lifetime(60.0)
    left.end()
    with pytest.raises(CallEnded):
        gateway(a_call(lifetime=left))
    assert provider.asked == []


def test_who_leaves_during_the_wait_is_not_kept_waiting(provider):
    provider.script = [ProviderThrottled("busy", retry_after=50.0, usage=Usage(3))]
    life, napping = Lifetime(60.0), threading.Event()

    def watched_nap(seconds, lifetime):
        napping.set()
        nap(seconds, lifetime)

    handler = compose([Retry(sleep=watched_nap)], ask_providers({"p": provider}, lambda: 0.0))
    failure, _ = run(lambda: handler(a_call(lifetime=life)), lambda: (napping.wait(PATIENCE), life.end()))
    assert isinstance(failure, CallEnded)
    assert (len(provider.asked), failure.usage, len(failure.attempts)) == (1, Usage(3), 1)


def test_a_nap_ends_by_itself_and_leaves_no_listener_behind():
    life = Lifetime(60.0)
    nap(0.001, life)
    assert life._listeners == []


def test_half_an_answer_is_never_asked_for_again(gateway, provider, naps):
    provider.script = [DOWN("first", usage=Usage(1)), [Chunk("Hel", Usage(5, 1)), ProviderBroken("cut")], HELLO]
    reply = gateway(a_call())
    with pytest.raises(ProviderBroken) as caught:
        reply.completion()
    assert [attempt.status for attempt in caught.value.attempts] == [DOWN.code, ProviderBroken.code]
    assert caught.value.usage == Usage(6, 1)  # what was seen counts, when the failure does not know better
    assert len(provider.asked) == 2


def test_an_error_of_our_own_is_no_reason_to_ask_again(gateway, provider):
    provider.script = [lambda call: 1 / 0]
    with pytest.raises(ZeroDivisionError):
        gateway(a_call())
    assert len(provider.asked) == 1
