"""The candidates of a name are asked in turn."""

import pytest

from llmapi.core.calls import Attempt, Chunk, Target, Usage
from llmapi.core.errors import (
    ProviderBroken,
    ProviderInvalid,
    ProviderRefused,
    ProviderThrottled,
    ProviderUnavailable,
)
from llmapi.core.lifetime import Lifetime
from llmapi.gateway.recipe import build_gateway
from tests.gateway.conftest import HELLO, ScriptedProvider, a_call

TWO = (Target("a", "first"), Target("b", "second"))


@pytest.fixture
def two(cache, bus, prices, clock):
    a, b = ScriptedProvider("a"), ScriptedProvider("b")
    gateway = build_gateway(
        providers={"a": a, "b": b}, cache=cache, bus=bus, prices=prices, attempts=1, clock=clock
    )
    return a, b, gateway


def test_the_best_candidate_answers_alone(two):
    a, b, gateway = two
    reply = gateway(a_call(targets=TWO))
    assert (reply.completion(), reply.facts.provider, reply.facts.model) == (HELLO, "a", "first")
    assert (a.asked[0].target, b.asked) == (TWO[0], [])


@pytest.mark.parametrize("kind", [ProviderUnavailable, ProviderInvalid, ProviderThrottled])
def test_the_next_candidate_is_asked_when_it_may_do_better(two, kind):
    a, b, gateway = two
    a.script = [kind("no", usage=Usage(3))]
    reply = gateway(a_call(targets=TWO))
    assert (reply.completion(), reply.facts.provider, reply.facts.model) == (HELLO, "b", "second")
    assert reply.facts.attempts == (
        Attempt("a", "first", kind.code, 0.0, Usage(3)),
        Attempt("b", "second", "ok"),
    )


def test_blocked_content_is_not_carried_to_another_provider(two):
    a, b, gateway = two
    a.script = [ProviderRefused("blocked")]
    with pytest.raises(ProviderRefused):
        gateway(a_call(targets=TWO))
    assert b.asked == []


def test_the_last_failure_is_told_with_the_attempts_of_all(two):
    a, b, gateway = two
    a.script, b.script = [ProviderUnavailable("a", usage=Usage(1))], [ProviderInvalid("b", usage=Usage(2))]
    with pytest.raises(ProviderInvalid) as caught:
        gateway(a_call(targets=TWO))
    assert [attempt.provider for attempt in caught.value.attempts] == ["a", "b"]
    assert caught.value.usage == Usage(3)


def test_half_an_answer_is_never_continued_by_another_model(two):
    a, b, gateway = two
    a.script = [[Chunk("Hel"), ProviderBroken("cut")]]
    with pytest.raises(ProviderBroken):
        gateway(a_call(targets=TWO)).completion()
    assert b.asked == []


def test_attempts_of_a_candidate_before_are_told_when_the_next_one_breaks_on_its_way(two):
    a, b, gateway = two
    a.script, b.script = [ProviderUnavailable("down")], [[Chunk("Hel"), ProviderBroken("cut")]]
    with pytest.raises(ProviderBroken) as caught:
        gateway(a_call(targets=TWO)).completion()
    assert [attempt.status for attempt in caught.value.attempts] == ["provider_unavailable", "provider_invalid"]


def test_no_other_candidate_is_asked_when_time_is_up(two):
    a, b, gateway = two
    life = Lifetime(60.0)

    def leave(call):
        call.lifetime.end()
        raise ProviderUnavailable("gone")

    a.script = [leave]
    with pytest.raises(ProviderUnavailable):
        gateway(a_call(targets=TWO, lifetime=life))
    assert b.asked == []


@pytest.mark.parametrize("targets", [(), (Target("nobody", "m"),)])
def test_a_call_for_nobody_fails_in_words(two, targets):
    with pytest.raises(ProviderInvalid):
        two[2](a_call(targets=targets))
