"""A provider gets as many calls at once as it bears; the others are told at once to come back."""

import threading
import time

import pytest

from llmapi.core.calls import Chunk, Facts, Target
from llmapi.core.errors import (
    CallEnded,
    LlmApiError,
    Overloaded,
    ProviderBroken,
    ProviderInvalid,
    ProviderQuotaSpent,
    ProviderThrottled,
    ProviderTimeout,
    ProviderUnavailable,
)
from llmapi.core.lifetime import Lifetime
from llmapi.core.reply import Reply
from llmapi.gateway.overload import Gates
from tests.gateway.conftest import HELLO, PATIENCE, ScriptedProvider, a_call, run

THROTTLED = ProviderThrottled("busy")
BUSY = ProviderUnavailable("overloaded", provider_status=503)


def hold(gates, provider, places):
    """Take places by replies that nobody reads yet; return the replies."""
    return [gates(a_call(), provider.ask) for _ in range(places)]


def fail(gates, error, **said):
    with pytest.raises(type(error)):
        gates(a_call(**said), ScriptedProvider("p", error).ask)


def good(gates, times):
    """Let so many good answers come while half of the limit is in use."""
    held = hold(gates, ScriptedProvider(), 1)
    for _ in range(times):
        while 2 * row(gates)["in_flight"] < row(gates)["limit"] - 1:
            held += hold(gates, ScriptedProvider(), 1)
        close(hold(gates, ScriptedProvider(), 1))
    close(held)


def close(replies):
    for reply in replies:
        reply.close()


def row(gates):
    [found] = gates.states()
    return found


def test_a_thousand_threads_never_have_more_than_the_limit_under_way():
    gates, asked, refused, all_refused = Gates({"p": 20}), [], [], threading.Event()

    def ask(call):
        asked.append(call)
        assert all_refused.wait(PATIENCE)  # nobody who is refused waits for one of these
        return Reply.of(HELLO, Facts())

    def one():
        try:
            return gates(a_call(), ask).completion()
        except Overloaded:
            refused.append(1)
            if len(refused) == 980:
                all_refused.set()
            return None

    assert run(*[one] * 1000).count(HELLO) == 20
    assert (len(asked), row(gates)["in_flight"], row(gates)["waiting"]) == (20, 0, 0)


def test_a_refusal_comes_fast_and_says_when_to_come_back(provider):
    gates = Gates({"p": 4}, wait=0.02)
    hold(gates, provider, 4)
    spent = []
    for _ in range(11):
        start = time.monotonic()
        with pytest.raises(Overloaded) as caught:
            gates(a_call(), provider.ask)
        spent.append(time.monotonic() - start)
        assert 1.0 <= caught.value.retry_after <= 30.0
    assert sorted(spent)[5] < 0.1  # the median: a busy machine may let some of them wait
    assert (len(provider.asked), row(gates)["waiting"]) == (4, 0)


def test_long_answers_let_those_refused_come_back_later(provider, clock):
    gates = Gates({"p": 2}, wait=0.0, clock=clock)
    for _ in range(30):
        held = hold(gates, provider, 2)
        clock.now += 10.0
        close(held)
    hold(gates, provider, 2)
    with pytest.raises(Overloaded) as caught:
        gates(a_call(), provider.ask)
    assert 9.0 < caught.value.retry_after <= 10.0


@pytest.mark.parametrize("end", [Reply.completion, Reply.close, lambda reply: list(reply)])
def test_a_place_is_held_until_the_reply_has_ended(provider, end):
    gates = Gates({"p": 1}, wait=0.0)
    [reply] = hold(gates, provider, 1)
    with pytest.raises(Overloaded):
        gates(a_call(), provider.ask)
    end(reply)
    assert hold(gates, provider, 1)


def test_a_broken_answer_and_a_failure_give_their_place_back():
    gates, provider = Gates({"p": 1}, wait=0.0), ScriptedProvider("p", [Chunk("Hel"), ProviderBroken("cut")])
    for _ in range(3):
        with pytest.raises(ProviderBroken):
            gates(a_call(), provider.ask).completion()
        fail(gates, ProviderInvalid("no"))
        fail(gates, ZeroDivisionError())
    assert row(gates)["in_flight"] == 0


def test_each_provider_has_its_own_places(provider):
    gates = Gates({"p": 1}, most=3, wait=0.0)
    hold(gates, provider, 1)
    for _ in range(3):
        gates(a_call(target=Target("q", "m")), provider.ask)
    assert [(each["provider"], each["in_flight"], each["most"]) for each in gates.states()] == [
        ("p", 1, 1),
        ("q", 3, 3),
    ]


def waiting(gates, number):
    """Wait until so many calls wait for a place."""
    patience = time.monotonic() + PATIENCE
    while row(gates)["waiting"] != number:
        assert time.monotonic() < patience
        threading.Event().wait(0.001)


def test_places_go_to_those_who_wait_in_the_order_they_came(provider):
    gates, order = Gates({"p": 12}, wait=PATIENCE), []
    held = hold(gates, provider, 12)

    def one(number):
        waiting(gates, number)  # before me
        order.append((number, gates(a_call(), provider.ask).close()))

    def ends():
        waiting(gates, 3)
        with pytest.raises(Overloaded):
            gates(a_call(), provider.ask)  # no more than a quarter of the places may wait
        for number, reply in enumerate(held[:3]):
            reply.close()
            while len(order) <= number:
                threading.Event().wait(0.001)

    run(*[lambda number=number: one(number) for number in range(3)], ends)
    assert [number for number, _ in order] == [0, 1, 2]


def test_who_leaves_while_waiting_is_let_go_at_once_and_blocks_nobody(provider):
    gates, life = Gates({"p": 4}, wait=PATIENCE), Lifetime(60.0)
    hold(gates, provider, 4)
    left, _ = run(lambda: gates(a_call(lifetime=life), provider.ask), lambda: (waiting(gates, 1), life.end()))
    assert isinstance(left, CallEnded)
    assert (len(provider.asked), row(gates)["waiting"], row(gates)["in_flight"], life._listeners) == (4, 0, 4, [])


def test_nobody_waits_longer_than_the_call_may_live(provider):
    gates = Gates({"p": 1}, wait=PATIENCE)
    hold(gates, provider, 1)
    start = time.monotonic()
    with pytest.raises(Overloaded):
        gates(a_call(lifetime=Lifetime(0.02)), provider.ask)
    assert time.monotonic() - start < PATIENCE / 2


def test_places_and_waiters_are_never_lost_whoever_leaves():
    gates, lock, under_way, peaks = Gates({"p": 8}, wait=0.002), threading.Lock(), set(), []

    def ask(call):
        with lock:
            under_way.add(call.id)
            peaks.append(len(under_way))
        return Reply(iter([Chunk("Hello.")]), Facts()).when_ended(lambda *_: under_way.discard(call.id))

    def one(number):
        for turn in range(40):
            life = Lifetime(60.0)
            leaver = threading.Timer(0.001, life.end) if turn % 8 == 0 else None
            if leaver:
                leaver.start()
            try:
                gates(a_call(id=f"{number}.{turn}", lifetime=life), ask).completion()
            except LlmApiError:
                pass
            if leaver:
                leaver.join()

    assert run(*[lambda number=number: one(number) for number in range(24)]) == [None] * 24
    assert max(peaks) <= 8
    assert row(gates) == {"provider": "p", "in_flight": 0, "limit": 8, "most": 8, "waiting": 0}


@pytest.mark.parametrize("error", [THROTTLED, BUSY, ProviderTimeout("slow", provider_status=408)])
def test_the_limit_shrinks_when_the_provider_has_too_much_to_do(error):
    gates = Gates(most=100)
    fail(gates, error)
    assert row(gates)["limit"] == 70
    fail(gates, error)
    assert row(gates)["limit"] == 49


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ProviderUnavailable("refused"), {}),
        (ProviderUnavailable("error", provider_status=500), {}),
        (ProviderQuotaSpent("today"), {}),
        (ProviderTimeout("the call had no time"), {}),
        (THROTTLED, {"provider_key": "k"}),
        (CallEnded("left"), {}),
    ],
)
def test_other_failures_say_nothing_about_how_many_are_too_many(error, said):
    gates = Gates(most=100)
    fail(gates, error, **said)
    assert row(gates)["limit"] == 100


def test_calls_that_were_under_way_together_shrink_it_once(provider):
    gates = Gates(most=100)
    provider.script = [[Chunk("Hel"), THROTTLED]]
    for reply in hold(gates, provider, 50):
        with pytest.raises(ProviderThrottled):
            reply.completion()
    assert row(gates)["limit"] == 70


@pytest.mark.parametrize(("error", "floor"), [(THROTTLED, 4), (BUSY, 10)])
def test_an_outage_leaves_some_places(error, floor):
    gates = Gates(most=100)
    for _ in range(50):
        fail(gates, error)
    assert row(gates)["limit"] == floor
    small = Gates({"p": 2})
    fail(small, error)
    assert row(small)["limit"] == 2


def test_after_an_outage_what_worked_before_is_regained_with_one_more_place_for_each_answer(provider):
    gates = Gates(most=100)
    close(hold(gates, provider, 60))
    for _ in range(20):
        fail(gates, THROTTLED)
    assert row(gates)["limit"] == 4
    good(gates, 66)
    assert row(gates)["limit"] == 70  # where the first cut had left it; from there it grows slowly
    good(gates, 20)
    assert row(gates)["limit"] == 70
    good(gates, 60)
    assert row(gates)["limit"] == 71


def test_good_answers_raise_the_limit_up_to_its_most():
    gates = Gates(most=10)
    good(gates, 1)
    fail(gates, THROTTLED)
    assert row(gates)["limit"] == 7
    good(gates, 40)
    assert row(gates)["limit"] == 10


def test_a_limit_that_is_not_in_use_is_not_raised(provider):
    gates = Gates(most=100)
    close(hold(gates, provider, 60))
    fail(gates, THROTTLED)
    for _ in range(500):
        close(hold(gates, provider, 1))
    assert row(gates)["limit"] == 70


def test_it_settles_near_what_the_provider_bears():
    gates, bears, held, seen = Gates(most=200, wait=0.0), 50, [], []

    def ask(_):
        if len(held) >= bears:
            raise ProviderThrottled("busy")
        return Reply.of(HELLO, Facts())

    for turn in range(4000):
        try:
            held.append(gates(a_call(), ask))
        except (Overloaded, ProviderThrottled):
            held.pop(0).completion()
        if turn > 1000:
            seen.append(len(held))
    assert 0.8 * bears <= sum(seen) / len(seen) <= bears
