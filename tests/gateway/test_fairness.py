"""Of those who wait for a busy provider, each tenant has its turn, and who is waited for goes before what may wait."""

import random
import threading
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmapi.core.calls import INTERACTIVE
from llmapi.core.errors import Overloaded
from llmapi.gateway.overload import Gates
from llmapi.gateway.overload_line import Line, Waiter
from tests.gateway.conftest import PATIENCE, a_call, run
from tests.gateway.test_overload import close, hold, row, waiting


def stand(line, *tenants, priority=INTERACTIVE):
    found = [Waiter(tenant, priority) for tenant in tenants]
    for waiter in found:
        line.enter(waiter)
    return found


def lane(waiter):
    return waiter.tenant, waiter.priority


def order(line):
    return [line.next() for _ in range(len(line))]


def test_a_tenant_with_five_hundred_waiting_holds_up_nobody_with_one():
    line = Line()
    many = stand(line, *["many"] * 500)
    [one] = stand(line, "one")
    assert order(line) == [many[0], one, *many[1:]]


def test_tenants_take_turns_and_each_ones_calls_go_in_the_order_they_came():
    line = Line()
    a1, a2, a3, b1, b2, c1 = stand(line, "a", "a", "a", "b", "b", "c")
    assert order(line) == [a1, b1, c1, a2, b2, a3]


def test_a_turn_is_remembered_while_others_come():
    line = Line()
    a1, a2, b1 = stand(line, "a", "a", "b")
    assert line.next() is a1
    [a3, c1] = stand(line, "a", "c")
    assert order(line) == [b1, a2, c1, a3]


def test_who_is_waited_for_goes_before_jobs_and_jobs_before_batches():
    line = Line()
    batch = stand(line, "a", "a", priority=0)
    low, high = stand(line, "a", priority=2), stand(line, "b", priority=9)
    asked = stand(line, "a", "a")
    assert order(line) == [*asked, *high, *low, *batch]


def test_a_full_line_sends_the_last_of_the_greediest_away():
    line = Line()
    *_, last = stand(line, "a", "b", "a", "b", "a")
    assert line.make_room(Waiter("c", INTERACTIVE)) is last
    assert len(line) == 4


def test_the_newcomer_goes_himself_when_nobody_is_greedier():
    line = Line()
    stand(line, "a", "b", "a", "b")
    for tenant in "ab":
        newcomer = Waiter(tenant, INTERACTIVE)
        assert line.make_room(newcomer) is newcomer
    assert len(line) == 4


def test_a_batch_makes_room_for_who_is_waited_for_and_never_the_other_way():
    line = Line()
    asked = stand(line, "a", "a", "a")
    batch = stand(line, "b", priority=0)
    newcomer = Waiter("c", -1)
    assert line.make_room(newcomer) is newcomer
    assert line.make_room(Waiter("a", INTERACTIVE)) is batch[0]
    newcomer = Waiter("b", 0)
    assert line.make_room(newcomer) is newcomer
    assert order(line) == [asked[0], asked[1], asked[2]]


def test_who_left_has_no_turn_and_leaving_twice_is_nothing():
    line = Line()
    a1, b1, a2 = stand(line, "a", "b", "a")
    assert [line.leave(a1), line.leave(a1), line.leave(Waiter("x", 3))] == [True, False, False]
    assert order(line) == [a2, b1]  # its tenant's turn is not lost


STEPS = st.lists(st.tuples(st.sampled_from(["enter", "next", "leave", "room"]), st.integers(0, 3), st.integers(0, 2)))


@given(STEPS, st.randoms(use_true_random=False))
def test_nobody_is_lost_or_served_twice(steps: list[tuple[str, int, int]], chance: random.Random) -> None:
    line, there = Line(), []
    for step, tenant, priority in steps:
        newcomer = Waiter(str(tenant), priority)
        if step == "enter":
            line.enter(newcomer)
            there.append(newcomer)
        elif step == "next" and there:
            first = line.next()
            assert first.priority == max(each.priority for each in there)
            assert first is [each for each in there if (each.tenant, each.priority) == lane(first)][0]
            there.remove(first)
        elif step == "leave" and there:
            gone = chance.choice(there)
            assert line.leave(gone)
            there.remove(gone)
        elif step == "room" and there:
            gone = line.make_room(newcomer)
            counts = Counter(each.tenant for each in there if each.priority == gone.priority)
            assert gone.priority == min(each.priority for each in [*there, newcomer])
            assert gone is newcomer or counts[gone.tenant] == max(counts.values())
            there = [each for each in there if each is not gone]
        assert len(line) == len(there)
    assert set(order(line)) == set(there)


def test_a_tenant_that_floods_a_provider_delays_another_by_one_turn(provider):
    gates, served, lock = Gates({"p": 64}, wait=PATIENCE), [], threading.Lock()
    held = hold(gates, provider, 64)

    def ask(tenant, before):
        waiting(gates, before)
        reply = gates(a_call(tenant=tenant), provider.ask)
        with lock:
            served.append(tenant)
        reply.close()

    def go():
        waiting(gates, 16)
        held.pop().close()  # one place from now on: each who had it hands it on

    flood = [lambda before=number: ask("many", before) for number in range(15)]
    run(*flood, lambda: ask("one", 15), go)
    close(held)
    assert len(served) == 16
    assert "one" in served[:3]  # its turn is the second; two threads may note themselves in another order


def test_a_full_line_lets_another_tenant_in_and_tells_who_goes_at_once(provider):
    gates, refused = Gates({"p": 16}, wait=PATIENCE), []
    held = hold(gates, provider, 16)

    def flood(before):
        waiting(gates, before)
        start = time.monotonic()
        try:
            gates(a_call(tenant="many"), provider.ask).close()
        except Overloaded as error:
            refused.append((time.monotonic() - start, error.retry_after))

    def newcomer():
        waiting(gates, 4)
        with pytest.raises(Overloaded):
            gates(a_call(tenant="many"), provider.ask)
        with pytest.raises(Overloaded):
            gates(a_call(tenant="one", priority=0), provider.ask)
        gates(a_call(tenant="one"), provider.ask).close()

    def ends():
        while not refused:
            threading.Event().wait(0.001)
        assert row(gates)["waiting"] == 4
        close(held)

    results = run(*[lambda before=number: flood(before) for number in range(4)], newcomer, ends)
    assert [each for each in results if each is not None] == []
    [(seconds, hint)] = refused
    assert seconds < PATIENCE / 2 and 1.0 <= hint <= 30.0
    assert (row(gates)["in_flight"], row(gates)["waiting"]) == (0, 0)
