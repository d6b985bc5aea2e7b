"""A provider that may do better the next time is asked again, politely and not for ever."""

import random
import threading

import pytest

from llmapi.core.calls import Attempt, Chunk, Facts, Usage
from llmapi.core.errors import (
    CallEnded,
    CircuitOpen,
    LlmApiError,
    Overloaded,
    ProviderBroken,
    ProviderInvalid,
    ProviderQuotaSpent,
    ProviderRefused,
    ProviderThrottled,
    ProviderTimeout,
    ProviderUnavailable,
)
from llmapi.core.lifetime import Lifetime
from llmapi.core.routing import Policy
from llmapi.core.reply import Reply
from llmapi.gateway.ask import ask_providers
from llmapi.gateway.pipeline import compose
from llmapi.gateway.retry import Retry, nap
from llmapi.gateway.retry_budget import RetryBudget
from tests.gateway.conftest import HELLO, PATIENCE, a_call, run

DOWN = ProviderUnavailable
CURABLE = [DOWN, ProviderThrottled, ProviderBroken]
FINAL = [ProviderRefused, ProviderInvalid, ProviderQuotaSpent, CircuitOpen, Overloaded]


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


def test_what_may_still_be_worked_on_is_asked_again_only_where_the_route_allows_it(gateway, provider):
    provider.script = [ProviderTimeout("slow"), HELLO]
    with pytest.raises(ProviderTimeout):
        gateway(a_call())
    provider.asked = []
    assert gateway(a_call(policy=Policy(ask_in_doubt=True))).completion() == HELLO


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


def test_no_attempt_comes_earlier_than_the_provider_asked_for(provider, clock):
    chance, asked = random.Random(7), []

    def pass_time(seconds, _):
        clock.now += seconds

    for _ in range(200):
        hints = [chance.choice([0.0, chance.uniform(0, 3), chance.uniform(3, 20)]) for _ in range(2)]
        asked.clear()
        provider.asked = []
        provider.script = [throttle(asked, clock, hint) for hint in hints] + [throttle(asked, clock, None)]
        stage = Retry(sleep=pass_time, jitter=chance.random)
        stage(a_call(lifetime=Lifetime(60.0, clock)), ask_providers({"p": provider}, clock))
        assert [later >= earlier + hint for earlier, later, hint in zip(asked, asked[1:], hints)] == [True, True]


def throttle(asked, clock, hint):
    """Return a script's line that notes when it was asked and then fails with a hint, or answers when there is none."""

    def line(_):
        asked.append(clock.now)
        if hint is None:
            return Reply.of(HELLO, Facts())
        raise ProviderThrottled("busy", retry_after=hint)

    return line


@pytest.mark.parametrize(("opens_after", "slept"), [(1, []), (2, [0.5])])
def test_a_candidate_whose_breaker_opened_is_not_asked_again(provider, naps, opens_after, slept):
    looks = []

    def resting(target):
        looks.append(target)
        return len(looks) >= opens_after

    provider.script = [DOWN("1", usage=Usage(3)), HELLO]
    stage = Retry(3, 0.5, 8.0, lambda seconds, _: naps.append(seconds), lambda: 1.0, resting=resting)
    with pytest.raises(ProviderUnavailable, match="1") as caught:
        compose([stage], ask_providers({"p": provider}, lambda: 0.0))(a_call())
    assert (naps, len(provider.asked), caught.value.usage) == (slept, 1, Usage(3))
    assert caught.value.attempts == (Attempt("p", "m", DOWN.code, 0.0, Usage(3)),)
    assert looks == [a_call().targets[0]] * opens_after


def test_half_the_calls_failing_makes_a_fifth_more_calls_upstream_and_no_more(provider, clock):
    chance = random.Random(3)

    def half(_):
        if chance.random() < 0.5:
            raise DOWN("half")
        return Reply.of(HELLO, Facts())

    provider.script = [half]
    stage = Retry(sleep=lambda *_: None, budget=RetryBudget(clock=clock))
    answered = 0
    for _ in range(2000):
        clock.now += 0.1
        try:
            stage(a_call(), ask_providers({"p": provider}, clock))
            answered += 1
        except ProviderUnavailable:
            pass
    assert 2300 <= len(provider.asked) <= 2400
    assert answered > 1100


def test_what_was_never_sent_earns_no_retries(provider, clock):
    budget = RetryBudget(clock=clock)
    provider.script = [CircuitOpen("open"), Overloaded("full"), ProviderRefused("no"), HELLO]
    for _ in range(4):
        try:
            Retry(budget=budget)(a_call(), ask_providers({"p": provider}, clock))
        except LlmApiError:
            pass
    assert budget.state()["firsts"] == 2
