"""Which failures lead to the next candidate, and which one is told when none answered."""

import gc
import weakref

import pytest

from llmapi.core.calls import Call, Target
from llmapi.core.errors import (
    CallEnded,
    CircuitOpen,
    ContextTooLong,
    Overloaded,
    ProviderBroken,
    ProviderInvalid,
    ProviderQuotaSpent,
    ProviderRefused,
    ProviderThrottled,
    ProviderTimeout,
    ProviderUnavailable,
    UnreadableAnswer,
    ValidationFailed,
)
from llmapi.core.reply import Reply
from llmapi.core.routing import Failure, Policy
from llmapi.gateway.route import Route
from tests.gateway.conftest import HELLO, a_call
from tests.gateway.upstream import Upstream

TWO = (Target("a", "first"), Target("b", "second"))


def may(*kinds: Failure, **rules) -> Policy:
    return Policy(fallback=frozenset(kinds), **rules)


IN_TURN = [
    (ProviderUnavailable, "unavailable"),
    (CircuitOpen, "unavailable"),
    (Overloaded, "unavailable"),
    (ProviderThrottled, "throttled"),
    (ProviderQuotaSpent, "throttled"),
    (ProviderInvalid, "invalid"),
    (ProviderBroken, "invalid"),
    (ContextTooLong, "context"),
    (ProviderRefused, "blocked"),
]
ALL_KINDS = ("unavailable", "throttled", "timeout", "invalid", "context", "blocked")


@pytest.mark.parametrize("failure, kind", IN_TURN)
def test_a_kind_of_failure_leads_on_where_the_route_says_so(failure, kind):
    upstream = Upstream(first=failure("no"))
    reply = Route()(a_call(targets=TWO, policy=may(kind)), upstream)
    assert (reply.completion(), reply.facts.model, upstream.asked) == (HELLO, "second", ["first", "second"])


@pytest.mark.parametrize("failure, kind", IN_TURN)
def test_and_nowhere_else(failure, kind):
    upstream = Upstream(first=failure("no"))
    with pytest.raises(failure):
        Route()(a_call(targets=TWO, policy=may(*set(ALL_KINDS) - {kind})), upstream)
    assert upstream.asked == ["first"]


@pytest.mark.parametrize("failure", [ContextTooLong, ProviderRefused])
def test_another_model_for_the_same_question_is_not_usual(failure):
    upstream = Upstream(first=failure("no"))
    with pytest.raises(failure):
        Route()(a_call(targets=TWO), upstream)
    assert upstream.asked == ["first"]


@pytest.mark.parametrize("failure", [UnreadableAnswer, CallEnded, ValidationFailed])
def test_what_no_other_provider_cures_leads_nowhere(failure):
    upstream = Upstream(first=failure("no"))
    with pytest.raises(failure):
        Route()(a_call(targets=TWO, policy=may(*ALL_KINDS, ask_in_doubt=True)), upstream)
    assert upstream.asked == ["first"]


@pytest.mark.parametrize("in_doubt, asked", [(False, ["first"]), (True, ["first", "second"])])
def test_what_may_still_be_paid_for_is_asked_elsewhere_only_where_the_route_says_so(in_doubt, asked):
    upstream = Upstream(first=ProviderTimeout("slow"), second=ProviderTimeout("slow"))
    with pytest.raises(ProviderTimeout):
        Route()(a_call(targets=TWO, policy=may("timeout", ask_in_doubt=in_doubt)), upstream)
    assert upstream.asked == asked


def test_a_prompt_too_long_goes_to_larger_models_first_and_to_no_smaller_one():
    sizes = {"first": 1000, "small": 500, "same": 1000, "unknown": 0, "large": 2000}
    upstream = Upstream(**{name: ContextTooLong("long") for name in sizes})
    with pytest.raises(ContextTooLong):
        targets = tuple(Target("p", name, context=size) for name, size in sizes.items())
        Route()(a_call(targets=targets, policy=may("context")), upstream)
    assert upstream.asked == ["first", "large", "unknown"]


def test_a_provider_s_own_answer_is_told_rather_than_that_others_rest():
    targets = (*TWO, Target("c", "third"))
    upstream = Upstream(
        first=CircuitOpen("a", retry_after=1.0), second=ProviderThrottled("b"), third=Overloaded("c")
    )
    with pytest.raises(ProviderThrottled):
        Route()(a_call(targets=targets), upstream)
    assert upstream.asked == ["first", "second", "third"]


def test_when_all_rest_the_soonest_end_is_told():
    targets = (*TWO, Target("c", "third"))
    waits = {"first": 4.0, "second": 2.0, "third": 3.0}
    upstream = Upstream(**{name: CircuitOpen("rests", retry_after=wait) for name, wait in waits.items()})
    with pytest.raises(CircuitOpen) as caught:
        Route()(a_call(targets=targets), upstream)
    assert caught.value.retry_after == 2.0


def test_the_failures_of_a_call_are_gone_when_it_is():
    failures: list[weakref.ref[ProviderUnavailable]] = []

    def watched(error: ProviderUnavailable) -> ProviderUnavailable:
        failures.append(weakref.ref(error))
        return error

    def fail(_: Call) -> Reply:
        raise watched(ProviderUnavailable("down"))

    gc.disable()  # what refers to itself would wait for the collector, with all the call says
    try:
        with pytest.raises(ProviderUnavailable):
            Route()(a_call(targets=TWO), fail)
        assert [failure() for failure in failures] == [None, None]
    finally:
        gc.enable()
