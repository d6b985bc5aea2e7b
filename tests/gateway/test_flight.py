"""Two processes that ask the same at the same time pay once; no leader that dies or fails holds anybody up."""

import threading
from collections.abc import Iterator

import pytest

from llmapi.cache.keys import cache_key
from llmapi.cache.leases import ASKING, Leases
from llmapi.cache.memory import MemoryCache
from llmapi.cache.redis import Away, RedisServer
from llmapi.cache.tiered import TieredCache
from llmapi.core.calls import CacheWish, Completion, Usage
from llmapi.core.errors import CallEnded, ProviderTimeout, ProviderUnavailable
from llmapi.core.lifetime import Lifetime
from llmapi.gateway.recipe import build_gateway
from tests.gateway.conftest import HELLO, PATIENCE, KeptEvents, PennyPrices, ScriptedProvider, a_call, run
from tests.servers.valkey import Valkey


class Process:
    """What one process has: a cache over the server, a gateway, a provider of its own that counts."""

    def __init__(self, url, *script, lease=1.5):
        self.server = RedisServer(url)
        self.cache = TieredCache(MemoryCache(8, 60.0), self.server)
        self.cache.leases = Leases(self.cache._memory, self.server, lease)
        self.provider, self.bus = ScriptedProvider("p", *script), KeptEvents()
        self.gateway = build_gateway(
            providers={"p": self.provider}, cache=self.cache, bus=self.bus, prices=PennyPrices(), attempts=1
        )
        self.cache.start()

    def ask(self, seconds=10.0, **said):
        reply = self.gateway(a_call(lifetime=Lifetime(seconds), **said))
        return reply.completion(), reply.facts.cache

    @property
    def asked(self):
        return len(self.provider.asked)


@pytest.fixture
def process(valkey: Valkey) -> Iterator:
    every = []

    def one(*script, **said):
        every.append(Process(valkey.url, *script, **said))
        return every[-1]

    yield one
    for each in every:
        each.cache.close()


class Gate:
    """A step of a script: says that it was come to, and waits until it is opened."""

    def __init__(self):
        self.come, self.open = threading.Event(), threading.Event()

    def __call__(self, _):
        self.come.set()
        assert self.open.wait(PATIENCE)


def led(process, gate, *end):
    """Return a process that asks and waits at a gate, and its thread and result."""
    leader, found = process([gate, *(end or [HELLO.chunk()])]), []
    thread = threading.Thread(target=lambda: found.append(run(leader.ask)[0]))
    thread.start()
    assert gate.come.wait(PATIENCE)
    return leader, thread, found


def test_four_processes_that_ask_at_once_pay_once(process):
    gate = Gate()
    every = [process([gate, HELLO.chunk()]) for _ in range(4)]
    threading.Timer(0.2, gate.open.set).start()
    found = run(*[each.ask for each in every for _ in range(8)])
    assert {answer for answer, _ in found} == {HELLO}
    assert sum(each.asked for each in every) == 1
    assert sorted(cache for _, cache in found).count("miss") == 1
    assert [event.cost.nanos for each in every for event in each.bus.events if event.cost.nanos] == [7000]


def test_an_answer_that_is_not_kept_is_handed_to_those_who_waited_and_to_nobody_after(process):
    gate, half = Gate(), Completion("Hel", Usage(5, 1), "length")
    leader, thread, _ = led(process, gate, half.chunk())
    follower = process()
    threading.Timer(0.1, gate.open.set).start()
    assert follower.ask() == (half, "coalesced")
    thread.join(PATIENCE)
    assert follower.ask() == (HELLO, "miss")


def test_a_leader_that_fails_sends_its_followers_on_at_once(process):
    gate = Gate()
    leader, thread, found = led(process, gate, ProviderUnavailable("away"))
    follower = process()
    threading.Timer(0.1, gate.open.set).start()
    assert follower.ask() == (HELLO, "miss")
    thread.join(PATIENCE)
    assert isinstance(found[0], ProviderUnavailable)


def test_a_dead_leader_is_replaced_and_what_it_brings_later_is_not_kept(process, valkey):
    gate, late = Gate(), Completion("late", Usage(1, 1), "stop")
    leader = process([gate, late.chunk()], lease=0.3)
    leader.cache.leases.close()  # it renews no more, as one that is dead or stopped
    thread = threading.Thread(target=leader.ask)
    thread.start()
    assert gate.come.wait(PATIENCE)
    other = process()
    assert other.ask() == (HELLO, "miss")
    gate.open.set()
    thread.join(PATIENCE)
    third = process()
    assert third.ask() == (HELLO, "hit")
    assert leader.ask() == (HELLO, "hit")


def test_a_living_leader_keeps_its_lease_however_long_it_asks(process, valkey):
    gate = Gate()
    leader = process([gate, HELLO.chunk()], lease=1.5)
    thread = threading.Thread(target=leader.ask)
    thread.start()
    assert gate.come.wait(PATIENCE)
    threading.Event().wait(2.0)
    assert valkey.client().exists(ASKING + cache_key(a_call()))
    gate.open.set()
    thread.join(PATIENCE)
    assert not valkey.client().exists(ASKING + cache_key(a_call()))


ALONE = [{"cache": CacheWish("bypass")}, {"cache": CacheWish("refresh")}, {"provider_key": "k"}]


@pytest.mark.parametrize("said", ALONE)
def test_who_wants_an_answer_of_his_own_does_not_wait(process, said):
    gate = Gate()
    leader, thread, _ = led(process, gate)
    other = process()
    assert other.ask(**said)[0] == HELLO and other.asked == 1
    gate.open.set()
    thread.join(PATIENCE)


def test_a_follower_waits_no_longer_than_it_has_time_and_goes_when_its_caller_leaves(process):
    gate = Gate()
    leader, thread, _ = led(process, gate)
    follower = process()
    with pytest.raises(ProviderTimeout):
        follower.ask(seconds=0.1)
    life = Lifetime(10.0)
    threading.Timer(0.1, life.end).start()
    with pytest.raises(CallEnded):
        follower.gateway(a_call(lifetime=life))
    assert follower.asked == 0
    gate.open.set()
    thread.join(PATIENCE)


def test_while_the_server_is_away_everybody_asks_for_himself(process, valkey):
    gate = Gate()
    leader, thread, found = led(process, gate)
    follower = process()
    threading.Timer(0.1, valkey.kill).start()
    assert follower.ask() == (HELLO, "miss")
    gate.open.set()
    thread.join(PATIENCE)
    assert found[0] == (HELLO, "miss")


class Hiccup(RedisServer):
    """A server whose first answer is lost on its way, although it did what it was asked."""

    lost = False

    def ask(self, work):
        found = super().ask(work)
        if not self.lost:
            self.lost = True
            raise Away("it does not answer")
        return found


def test_who_asks_again_for_a_lease_he_was_given_does_not_wait_for_himself(valkey):
    server = Hiccup(valkey.url)
    place = Leases(MemoryCache(), server).enter("acme:k")
    assert server.lost and place.token == place.holder != ""
    server.close()
