"""The candidates of a name are asked in turn."""

import pytest

from llmapi.core.calls import Attempt, Chunk, Target, Tool, Usage
from llmapi.core.errors import (
    Overloaded,
    ProviderBroken,
    ProviderInvalid,
    ProviderRefused,
    ProviderThrottled,
    ProviderUnavailable,
    ValidationFailed,
)
from llmapi.core.lifetime import Lifetime
from llmapi.core.routing import Policy
from llmapi.gateway.balance import Balancer
from llmapi.gateway.recipe import build_gateway
from llmapi.gateway.route import Route
from tests.gateway.conftest import HELLO, ScriptedProvider, a_call
from tests.gateway.upstream import Upstream

A, B = TWO = (Target("a", "first"), Target("b", "second"))


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


def test_resting_candidates_are_asked_last():
    upstream = Upstream(second=ProviderUnavailable("down"))
    Route(Balancer(), lambda target: target == A)(a_call(targets=TWO), upstream)
    assert upstream.asked == ["second", "first"]


def test_candidates_are_asked_in_the_order_of_the_policy():
    upstream, route = Upstream(), Route()
    for _ in range(4):
        route(a_call(targets=TWO, policy=Policy("best", "round_robin")), upstream)
    assert upstream.asked == ["first", "second"] * 2


PLAIN = Target("p", "plain", frozenset({"chat"}))
HANDY = Target("p", "handy", frozenset({"chat", "tools"}))
EMBEDS = Target("p", "embeds", frozenset({"embeddings"}))


@pytest.mark.parametrize("need, able", [({"tools": (Tool("add"),)}, "handy"), ({"inputs": ("text",)}, "embeds")])
def test_only_models_that_can_do_what_the_call_needs_are_asked(need, able):
    upstream = Upstream(**{able: ProviderUnavailable("down")})
    with pytest.raises(ProviderUnavailable):
        Route()(a_call(targets=(PLAIN, HANDY, EMBEDS), **need), upstream)
    assert upstream.asked == [able]


@pytest.mark.parametrize("need, field", [({"tools": (Tool("add"),)}, "tools"), ({"inputs": ("text",)}, "model")])
def test_a_call_that_no_candidate_can_serve_is_not_valid(need, field):
    upstream = Upstream()
    with pytest.raises(ValidationFailed) as caught:
        Route()(a_call(targets=(PLAIN,), **need), upstream)
    assert (list(caught.value.fields), upstream.asked) == ([field], [])


def test_models_nothing_is_known_of_may_try():
    assert Route()(a_call(tools=(Tool("add"),)), Upstream()).completion() == HELLO


def test_a_turn_is_not_lost_on_a_model_that_cannot_serve_the_call():
    upstream, route = Upstream(), Route()
    able = (HANDY, PLAIN, Target("p", "other", HANDY.abilities))
    for _ in range(4):
        route(a_call(targets=able, tools=(Tool("add"),), policy=Policy("best", "round_robin")), upstream)
    assert upstream.asked == ["handy", "other"] * 2


def test_an_earlier_failure_that_is_told_knows_what_was_tried_after_it(two):
    a, b, gateway = two
    a.script = [ProviderInvalid("a", usage=Usage(1))]
    b.script = [Overloaded("b")]
    with pytest.raises(ProviderInvalid) as caught:
        gateway(a_call(targets=TWO))
    assert [attempt.provider for attempt in caught.value.attempts] == ["a", "b"]
    assert caught.value.usage == Usage(1)
