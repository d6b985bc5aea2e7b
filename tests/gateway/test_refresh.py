"""An answer whose time is over: given to who accepts it, renewed behind him once, or given when nothing else is."""

import threading

import pytest

from llmapi.core.calls import CacheWish, Completion, Facts
from llmapi.core.errors import CacheMiss, ProviderRefused, ProviderUnavailable
from llmapi.core.reply import Reply
from llmapi.gateway.refresh import Refresher
from tests.gateway.conftest import HELLO, PATIENCE, a_call

NEW = Completion("New.", finish="stop")


def asked(gateway, mode="use", ttl=None, *, swr=0.0, sie=0.0):
    wish = CacheWish(mode, ttl, stale_while_revalidate=swr, stale_if_error=sie)
    reply = gateway(a_call(cache=wish))
    return reply.completion(), reply.facts


@pytest.fixture
def late(gateway, provider, clock):
    """A gateway with an answer that is 5 seconds past its time of 60."""
    provider.script = [HELLO, NEW]
    asked(gateway, swr=100.0)
    clock.now += 65.0
    return gateway


def until(check):
    for _ in range(500):
        if check():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not happen in time")


def test_a_stale_answer_is_given_at_once_and_renewed_behind_the_caller(late, provider, bus, clock):
    answer, facts = asked(late, swr=10.0)
    assert (answer, facts.cache, facts.age, facts.ttl) == (HELLO, "hit", 65.0, -5.0)
    until(lambda: len(bus.events) == 3)
    assert asked(late)[0] == NEW
    assert [event.cache for event in bus.events].count("miss") == 2  # the renewal is told, and booked, as a call
    assert len(provider.asked) == 2


def test_it_is_renewed_once_however_many_get_the_old_one(late, provider, bus):
    gate = threading.Event()
    provider.script = [HELLO, [lambda _: gate.wait(PATIENCE) or None, NEW.chunk()]]
    for _ in range(5):
        assert asked(late, swr=10.0)[0] == HELLO
    gate.set()
    until(lambda: asked(late, swr=10.0)[0] == NEW)
    assert len(provider.asked) == 2


@pytest.mark.parametrize("wish", [{}, {"swr": 4.9}, {"sie": 10.0}])
def test_who_does_not_accept_one_so_stale_gets_a_new_one(late, wish):
    answer, facts = asked(late, **wish)
    assert (answer, facts.cache) == (NEW, "miss")


def test_an_old_answer_is_given_when_no_provider_gives_one(late, provider):
    provider.script = [HELLO, ProviderUnavailable("away")]
    answer, facts = asked(late, sie=10.0)
    assert (answer, facts.cache, facts.ttl) == (HELLO, "hit", -5.0)
    assert facts.attempts[-1].status == "provider_unavailable"
    for wish in ({}, {"sie": 4.9}):
        with pytest.raises(ProviderUnavailable):
            asked(late, **wish)


def test_a_failure_that_is_the_question_s_own_is_told(late, provider):
    provider.script = [HELLO, ProviderRefused("blocked")]
    with pytest.raises(ProviderRefused):
        asked(late, sie=10.0)


def test_only_takes_a_stale_one_if_that_was_wished_and_renews_nothing(late, provider):
    for wish in ({"swr": 10.0}, {"sie": 10.0}):
        assert asked(late, "only", **wish)[0] == HELLO
    for wish in ({}, {"swr": 4.0, "sie": 4.0}):
        with pytest.raises(CacheMiss):
            asked(late, "only", **wish)
    assert len(provider.asked) == 1


def test_the_oldest_age_a_call_accepts_counts_as_its_time(gateway, clock):
    asked(gateway)
    clock.now += 20.0
    answer, facts = asked(gateway, "only", 15.0, sie=10.0)
    assert (facts.cache, facts.ttl) == ("hit", -5.0)
    with pytest.raises(CacheMiss):
        asked(gateway, "only", 5.0, sie=10.0)


def test_a_process_renews_only_so_many_at_once_and_none_that_another_renews():
    class Claimed:
        def claimed(self, key, seconds):
            return False

    gate, begun = threading.Event(), []
    ours = Refresher(most=1)
    ours.through(lambda call: begun.append(call.id) or gate.wait(PATIENCE) and Reply.of(HELLO, Facts()))
    for id in "ab":
        ours(id, a_call(id=id))
    gate.set()
    until(lambda: ours.under_way() == 0)
    assert begun == ["a"]
    theirs, seen = Refresher(Claimed()), []
    theirs.through(seen.append)
    theirs("k", a_call())
    until(lambda: theirs.under_way() == 0)
    assert seen == []
