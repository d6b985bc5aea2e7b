"""What Route lets its balancer know: who is running, how long the first chunk took, whose fault a failure was."""

import pytest

from llmapi.core.calls import Call, Chunk, Facts, Target
from llmapi.core.errors import (
    CallEnded,
    CircuitOpen,
    ContextTooLong,
    LlmApiError,
    Overloaded,
    ProviderBroken,
    ProviderInvalid,
    ProviderRefused,
    ProviderThrottled,
    ProviderUnavailable,
)
from llmapi.core.reply import Reply
from llmapi.core.routing import Policy
from llmapi.gateway.balance import Balancer
from llmapi.gateway.route import Route
from tests.gateway.conftest import HELLO, ScriptedProvider, a_call, run
from tests.gateway.upstream import Upstream

A, B = TWO = (Target("a", "first"), Target("b", "second"))
QUICKEST = Policy("quickest", "lowest_latency")


def streamed(*steps) -> Reply:
    return ScriptedProvider("a").stream(a_call(), steps)


@pytest.mark.parametrize("leave", [Reply.completion, Reply.close, lambda reply: next(iter(reply))])
def test_a_call_is_running_until_its_reply_ends(leave):
    balancer = Balancer()
    upstream = Upstream(first=streamed(Chunk("Hel"), Chunk("lo")))
    reply = Route(balancer)(a_call(targets=TWO), upstream)
    assert balancer.running(A) == 1
    leave(reply)
    assert (balancer.running(A), balancer.running(B)) == (0, 0)


def test_a_call_is_running_until_its_reply_breaks():
    balancer = Balancer()
    reply = Route(balancer)(a_call(), Upstream(m=streamed(Chunk("Hel"), ProviderBroken("cut"))))
    with pytest.raises(ProviderBroken):
        reply.completion()
    assert balancer.running(Target("p", "m")) == 0


@pytest.mark.parametrize("failure", [ProviderUnavailable("down"), KeyboardInterrupt()])
def test_a_call_that_failed_is_running_no_more(failure):
    def fail(_: Call) -> Reply:
        raise failure

    balancer = Balancer()
    with pytest.raises(type(failure)):
        Route(balancer)(a_call(targets=TWO), fail)
    assert (balancer.running(A), balancer.running(B)) == (0, 0)


def test_threads_leave_no_call_running():
    balancer = Balancer()
    route, policy = Route(balancer), Policy("best", "least_in_flight")

    def work() -> None:
        for _ in range(200):
            route(a_call(targets=TWO, policy=policy), Upstream(first=ProviderUnavailable("down"))).completion()

    assert run(*[work] * 4) == [None] * 4
    assert (balancer.running(A), balancer.running(B)) == (0, 0)


@pytest.fixture
def quickest(clock):
    """Say who is asked first after A, which took a second until now, has failed in some way and B takes two."""

    def first_after(failure: LlmApiError, **said) -> str:
        route = Route(Balancer(clock))

        def slow(call: Call) -> Reply:
            clock.now += 1.0 if call.target == A else 2.0
            return Reply.of(HELLO, Facts())

        for target in TWO:
            route(a_call(targets=(target,)), slow).completion()
        with pytest.raises(type(failure)):
            route(a_call(targets=(A,), **said), Upstream(first=failure))
        upstream = Upstream()
        route(a_call(targets=TWO, policy=QUICKEST), upstream)
        return upstream.asked[0]

    return first_after


@pytest.mark.parametrize("failure", [ProviderUnavailable, ProviderThrottled, ProviderInvalid, ProviderBroken])
def test_failing_makes_a_quick_candidate_the_second_choice(quickest, failure):
    assert quickest(failure("no")) == "second"


@pytest.mark.parametrize("failure", [ContextTooLong, ProviderRefused, CircuitOpen, Overloaded, CallEnded])
def test_what_is_not_its_fault_does_not(quickest, failure):
    assert quickest(failure("no")) == "first"


def test_nor_does_what_fails_with_a_caller_s_own_key(quickest):
    assert quickest(ProviderInvalid("no such key"), provider_key="sk-own") == "first"


def test_latency_is_the_time_to_the_first_chunk_and_not_to_the_last(clock):
    def long_answer(call: Call) -> Reply:
        clock.now += 1.0
        return Reply(iter([Chunk("Hel"), Chunk("lo")]), Facts())

    route = Route(Balancer(clock))
    reply = route(a_call(targets=(A,)), long_answer)
    clock.now += 60.0
    reply.completion()
    route(a_call(targets=(B,)), lambda call: long_answer(call)).close()
    upstream = Upstream()
    route(a_call(targets=TWO, policy=QUICKEST), upstream)
    assert upstream.asked == ["first"]
