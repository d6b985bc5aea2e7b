"""Which candidate is asked first, and which ones after it."""

import random
from collections import Counter
from itertools import cycle

import pytest

from llmapi.core.calls import Call, Target
from llmapi.core.errors import ProviderTimeout, ProviderUnavailable
from llmapi.core.routing import Policy
from llmapi.gateway.balance import DECAY, REMEMBERED, Balancer
from tests.gateway.conftest import a_call, run

A, B, C = THREE = tuple(Target(name, "m") for name in "abc")
EVERY_BALANCE = ["ordered", "weighted", "round_robin", "least_in_flight", "lowest_latency"]


def nobody(_: Target) -> bool:
    return False


def routed(balance: str, *weights: float, targets: tuple[Target, ...] = THREE, name: str = "best") -> Call:
    return a_call(targets=targets, policy=Policy(name, balance, weights))


def names(order: list[Target]) -> str:
    return "".join(target.provider for target in order)


def firsts(balancer: Balancer, call: Call, times: int, resting=nobody) -> str:
    return "".join(balancer.order(call, resting)[0].provider for _ in range(times))


@pytest.fixture
def balancer(clock):
    return Balancer(clock, random.Random(7).random)


@pytest.fixture
def took(balancer, clock):
    """Let a target answer after some seconds, now."""

    def answer(target: Target, seconds: float) -> None:
        asking = balancer.started(target)
        clock.now += seconds
        asking.answered()
        asking.ended()

    return answer


@pytest.mark.parametrize("balance", EVERY_BALANCE)
def test_every_candidate_is_in_the_order_once(balancer, balance):
    call = routed(balance, 3, 0, 1)
    assert all(sorted(names(balancer.order(call, nobody))) == ["a", "b", "c"] for _ in range(50))


@pytest.mark.parametrize("balance", EVERY_BALANCE)
def test_resting_candidates_come_last(balancer, balance):
    call = routed(balance, 9, 1, 1)
    orders = {names(balancer.order(call, lambda target: target == A)) for _ in range(50)}
    assert orders <= {"bca", "cba"}


@pytest.mark.parametrize("balance", EVERY_BALANCE)
def test_when_all_rest_all_are_still_candidates(balancer, balance):
    assert balancer.order(routed(balance), lambda _: True) == [A, B, C]


@pytest.mark.parametrize("balance", EVERY_BALANCE[1:])
def test_who_weighs_nothing_is_only_a_fallback(balancer, balance):
    call = routed(balance, 0, 1, 1)
    assert {names(balancer.order(call, nobody)) for _ in range(50)} <= {"bca", "cba"}
    assert balancer.order(call, lambda target: target != A) == [A, B, C]


@pytest.mark.parametrize("balance", EVERY_BALANCE[1:])
def test_where_none_weighs_anything_all_are_alike(balancer, balance):
    call = routed(balance, 0, 0, 0)
    askings = []
    for _ in range(9):
        askings.append(balancer.started(balancer.order(call, nobody)[0]))
    assert all(balancer.running(target) > 0 for target in THREE)


@pytest.mark.parametrize("balance", EVERY_BALANCE)
def test_a_single_candidate_is_nobody_elses_business(balance):
    def fail(*_: object) -> float:
        raise AssertionError("asked for one candidate")

    assert Balancer(fail, fail).order(routed(balance, 1, targets=(A,)), fail) == [A]


def test_ordered_keeps_the_written_order_whatever_the_weights(balancer):
    assert balancer.order(routed("ordered", 0, 1, 9), nobody) == [A, B, C]


def test_weighted_draws_the_first_by_weight(balancer):
    found = Counter(firsts(balancer, routed("weighted", 6, 3, 1), 5000))
    assert [found[name] / 5000 for name in "abc"] == pytest.approx([0.6, 0.3, 0.1], abs=0.02)


def test_weighted_draws_the_fallback_by_weight_too(balancer):
    orders = [names(balancer.order(routed("weighted", 6, 3, 1), nobody)) for _ in range(5000)]
    after_a = Counter(order[1] for order in orders if order[0] == "a")
    assert after_a["b"] / (after_a["b"] + after_a["c"]) == pytest.approx(0.75, abs=0.03)


def test_a_draw_at_the_edge_of_chance_is_a_draw(clock):
    assert Balancer(clock, lambda: 0.0).order(routed("weighted"), nobody) == [A, B, C]


def test_round_robin_goes_round_with_the_next_ones_as_fallback(balancer):
    orders = [names(balancer.order(routed("round_robin"), nobody)) for _ in range(4)]
    assert orders == ["abc", "bca", "cab", "abc"]


def test_round_robin_by_weight_is_as_smooth_as_nginx(balancer):
    assert firsts(balancer, routed("round_robin", 5, 1, 1), 14) == "aabacaa" * 2


def test_each_route_goes_round_on_its_own(balancer):
    one, other = routed("round_robin", name="one"), routed("round_robin", name="other")
    assert firsts(balancer, one, 2) + firsts(balancer, other, 2) + firsts(balancer, one, 1) == "ababc"


def test_the_turns_of_a_resting_candidate_are_shared_evenly(balancer):
    assert firsts(balancer, routed("round_robin"), 6, lambda target: target == A) == "bcbcbc"


def test_threads_going_round_together_take_exactly_their_shares(balancer):
    call = routed("round_robin", 3, 2, 1)
    found = Counter("".join(run(*[lambda: firsts(balancer, call, 300)] * 4)))
    assert found == {"a": 600, "b": 400, "c": 200}


def test_least_in_flight_asks_who_has_least_to_do(balancer):
    askings = [balancer.started(target) for target in (A, A, B, C, C, C)]
    assert names(balancer.order(routed("least_in_flight"), nobody)) == "bac"
    askings[0].ended()
    askings[1].ended()
    assert names(balancer.order(routed("least_in_flight"), nobody)) == "abc"


def test_least_in_flight_counts_by_weight(balancer):
    for target in (A, A, A, B, B):
        balancer.started(target)
    assert names(balancer.order(routed("least_in_flight", 4, 2, targets=(A, B)), nobody)) == "ab"


def test_the_idle_share_calls_by_weight(balancer):
    found = Counter(firsts(balancer, routed("least_in_flight", 3, 1, targets=(A, B)), 2000))
    assert found["a"] / 2000 == pytest.approx(0.75, abs=0.03)


def test_lowest_latency_asks_each_unknown_one_first_and_once(balancer):
    order = []
    for _ in range(3):
        order.append(balancer.order(routed("lowest_latency"), nobody)[0])
        balancer.started(order[-1])
    assert order == [A, B, C]


def test_one_that_never_answered_is_asked_by_nobody_else(balancer, took):
    balancer.started(A)
    took(B, 30.0)
    assert firsts(balancer, routed("lowest_latency", targets=(A, B)), 20) == "b" * 20


def test_lowest_latency_asks_the_quicker_one_first(balancer, took):
    took(A, 0.3)
    took(B, 0.2)
    assert names(balancer.order(routed("lowest_latency", targets=(A, B)), nobody)) == "ba"


def test_of_many_the_quicker_of_two_random_ones_is_asked(balancer, took):
    for target, seconds in ((A, 0.3), (B, 0.2), (C, 0.1)):
        took(target, seconds)
    found = Counter(firsts(balancer, routed("lowest_latency"), 3000))
    assert [found[name] / 3000 for name in "abc"] == pytest.approx([0.0, 1 / 3, 2 / 3], abs=0.03)


def test_running_calls_make_a_quick_one_expensive(balancer, took):
    took(A, 0.1)
    took(B, 0.25)
    call = routed("lowest_latency", targets=(A, B))
    askings = []
    for _ in range(4):
        askings.append(balancer.started(balancer.order(call, nobody)[0]))
    assert (balancer.running(A), balancer.running(B)) == (3, 1)


def test_twice_the_weight_bears_twice_the_wait(balancer, took):
    took(B, 0.2)
    took(A, 0.3)
    assert names(balancer.order(routed("lowest_latency", 2, 1, targets=(A, B)), nobody)) == "ab"


def test_a_peak_counts_at_once_and_a_recovery_little_by_little(balancer, took):
    call = routed("lowest_latency", targets=(A, B))
    took(B, 1.0)
    for seconds in (0.1, 3.0, 0.1):
        took(A, seconds)
    assert names(balancer.order(call, nobody)) == "ba"


def test_who_was_slow_is_tried_again_after_a_while(balancer, took, clock):
    call = routed("lowest_latency", targets=(A, B))
    took(A, 5.0)
    took(B, 0.5)
    assert firsts(balancer, call, 1) == "b"
    clock.now += 3 * DECAY
    took(B, 0.5)
    assert firsts(balancer, call, 1) == "a"


def test_failing_at_once_is_not_taken_for_being_quick(balancer, took):
    balancer.started(A).ended(ProviderUnavailable("down"))
    took(B, 2.0)
    assert names(balancer.order(routed("lowest_latency", targets=(A, B)), nobody)) == "ba"


def test_breaking_after_the_first_chunk_is_a_failure_too(balancer, took):
    took(B, 2.0)
    asking = balancer.started(A)
    asking.answered()
    asking.ended(ProviderUnavailable("cut"))
    assert names(balancer.order(routed("lowest_latency", targets=(A, B)), nobody)) == "ba"


def test_who_failed_is_tried_again_after_a_while(balancer, took, clock):
    balancer.started(A).ended(ProviderUnavailable("down"))
    clock.now += 3 * DECAY
    took(B, 0.5)
    assert names(balancer.order(routed("lowest_latency", targets=(A, B)), nobody)) == "ab"


def test_impatient_callers_make_nobody_look_quicker_or_slower(balancer, took):
    call = routed("lowest_latency", targets=(A, B))
    took(B, 0.4)
    took(A, 0.5)
    for _ in range(50):
        balancer.started(A).ended(ProviderTimeout("0.0 s were given"))
    assert names(balancer.order(call, nobody)) == "ba"
    took(B, 0.9)
    assert names(balancer.order(call, nobody)) == "ab"


def test_a_hang_costs_the_time_it_took(balancer, took, clock):
    took(B, 8.0)
    asking = balancer.started(A)
    clock.now += 20.0
    asking.ended(ProviderTimeout("hung"))
    assert names(balancer.order(routed("lowest_latency", targets=(A, B)), nobody)) == "ba"


def test_models_of_one_provider_are_told_apart(balancer):
    other = Target("a", "other")
    balancer.started(A)
    assert (balancer.running(A), balancer.running(other)) == (1, 0)


def test_what_a_model_is_said_to_be_able_to_does_not_make_it_another(balancer):
    balancer.started(Target("a", "m", frozenset({"tools"}), 1000))
    assert balancer.running(A) == 1


def test_threads_lose_no_running_call(balancer):
    def work() -> None:
        for target, _ in zip(cycle(THREE), range(600)):
            asking = balancer.started(target)
            balancer.order(routed("lowest_latency"), nobody)
            asking.answered()
            asking.ended()

    assert run(*[work] * 4) == [None] * 4
    assert [balancer.running(target) for target in THREE] == [0, 0, 0]


def test_only_so_many_targets_are_remembered(balancer):
    first = balancer.started(A)
    for number in range(REMEMBERED):
        balancer.started(Target("p", f"m{number}"))
    assert (balancer.running(A), balancer.running(Target("p", "m999"))) == (0, 1)
    first.ended()
    assert balancer.running(A) == 0


def test_only_so_many_routes_are_remembered(balancer):
    forgotten, kept = routed("round_robin", name="r0"), routed("round_robin", name="r1000")
    for number in range(REMEMBERED + 1):
        balancer.order(routed("round_robin", name=f"r{number}"), nobody)
    assert firsts(balancer, kept, 1) + firsts(balancer, forgotten, 1) == "ba"
