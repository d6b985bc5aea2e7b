"""Every call is told once, however it ends."""

import pytest

from llmapi.core.calls import NOTHING, CacheWish, Chunk, Target, Usage
from llmapi.core.errors import CacheMiss, ProviderBroken, ProviderThrottled, ProviderUnavailable
from llmapi.core.money import FREE, UNPRICED, Cost
from llmapi.gateway.recipe import build_gateway
from tests.gateway.conftest import HELLO, ScriptedProvider, a_call

STREAM = [Chunk("Hel", Usage(5, 1)), Chunk("lo.", Usage(0, 1), "stop")]


def the_event(bus):
    (event,) = bus.events
    return event


def test_an_answer_is_told_with_its_price_and_its_seconds(gateway, provider, bus, clock):
    def slow(call):
        clock.now += 2.0
        return provider.stream(call, [STREAM[0], lambda _: setattr(clock, "now", clock.now + 3.0), STREAM[1]])

    provider.script = [slow]
    for _ in gateway(a_call(stream=True)):
        clock.now += 1.0  # the reader's own time
    event = the_event(bus)
    assert (event.status, event.cache, event.usage, event.cost) == ("ok", "miss", Usage(5, 2), Cost(7000, "priced"))
    assert (event.duration, event.provider_time, event.streamed) == (7.0, 5.0, True)
    assert (event.call_id, event.tenant, event.task, event.asked_model) == ("call_1", "acme", "text", "default")
    assert (event.provider, event.model, event.at.tzinfo is not None) == ("p", "m", True)


def test_nothing_is_told_before_the_end(gateway, bus):
    reply = gateway(a_call())
    assert bus.events == []
    reply.completion()
    assert len(bus.events) == 1


def test_a_kept_answer_is_told_free_with_the_tokens_it_reports(gateway, bus):
    gateway(a_call()).completion()
    gateway(a_call()).completion()
    hit = bus.events[1]
    assert (hit.status, hit.cache, hit.usage, hit.cost, hit.billed) == ("ok", "hit", HELLO.usage, FREE, NOTHING)


def test_failed_attempts_are_billed_too(gateway, provider, bus):
    provider.script = [ProviderThrottled("busy", usage=Usage(3)), HELLO]
    gateway(a_call()).completion()
    event = the_event(bus)
    assert (event.usage, event.billed, event.cost) == (HELLO.usage, Usage(8, 2), Cost(10_000, "priced"))


def test_each_attempt_is_billed_at_the_price_of_its_own_model(bus, cache, prices, clock):
    free, paid = ScriptedProvider("free", ProviderUnavailable("down", usage=Usage(100))), ScriptedProvider("p")
    gateway = build_gateway(
        providers={"free": free, "p": paid}, cache=cache, bus=bus, prices=prices, attempts=1, clock=clock
    )
    gateway(a_call(targets=(Target("free", "a"), Target("p", "b")))).completion()
    assert the_event(bus).cost == Cost(7000, "priced")


def test_a_failure_is_told_with_what_it_was_billed(gateway, provider, bus, clock):
    def fail(call):
        clock.now += 2.0
        raise ProviderUnavailable("down", usage=Usage(2))

    provider.script = [fail]
    with pytest.raises(ProviderUnavailable):
        gateway(a_call())
    event = the_event(bus)
    assert (event.status, event.usage, event.billed) == ("provider_unavailable", Usage(6), Usage(6))
    assert (event.cost, len(event.attempts), event.provider_time) == (Cost(6000, "priced"), 3, 6.0)
    assert (event.provider, event.model) == ("p", "m")


def test_a_failure_on_the_way_is_told_once_with_what_was_seen(gateway, provider, bus):
    provider.script = [[STREAM[0], ProviderBroken("cut")]]
    with pytest.raises(ProviderBroken):
        gateway(a_call()).completion()
    event = the_event(bus)
    assert (event.status, event.usage, event.cost) == ("provider_invalid", Usage(5, 1), Cost(6000, "priced"))


def test_a_stream_left_early_is_told_as_abandoned_and_closed(gateway, provider, bus):
    provider.script = [STREAM]
    reading = gateway(a_call())
    next(iter(reading))
    reading.close()
    event = the_event(bus)
    assert (event.status, event.usage, provider.closed) == ("abandoned", Usage(5, 1), 1)


def test_a_reply_closed_before_it_was_read_closes_the_provider_too(gateway, provider, bus):
    provider.script = [STREAM]
    gateway(a_call()).close()
    assert (the_event(bus).status, provider.closed) == ("abandoned", 1)


def test_tokens_that_nobody_counted_have_no_price(gateway, provider, bus):
    provider.script = [[Chunk("Hel"), Chunk("lo.")]]
    gateway(a_call()).close()
    assert the_event(bus).cost == UNPRICED


def test_a_miss_of_who_wanted_nothing_else_is_told_and_costs_nothing(gateway, bus):
    with pytest.raises(CacheMiss):
        gateway(a_call(cache=CacheWish("only")))
    event = the_event(bus)
    assert (event.status, event.cache, event.cost, event.provider) == ("cache_miss", "miss", FREE, "")


def test_a_failed_bypass_is_told_as_a_bypass(gateway, provider, bus):
    provider.script = [ProviderUnavailable("down")]
    with pytest.raises(ProviderUnavailable):
        gateway(a_call(cache=CacheWish("bypass")))
    assert the_event(bus).cache == "bypass"


def test_a_fault_of_ours_is_told_as_an_internal_error(gateway, provider, bus):
    provider.script = [lambda call: 1 / 0]
    with pytest.raises(ZeroDivisionError):
        gateway(a_call())
    assert the_event(bus).status == "internal_error"


@pytest.mark.parametrize("broken", ["bus", "prices"])
def test_broken_books_do_not_break_a_call(provider, cache, bus, prices, clock, broken, caplog):
    class Broken:
        def tell(self, event):
            raise OSError("disk full")

        def cost(self, target, usage):
            raise ArithmeticError("no such price")

    parts = {"bus": bus, "prices": prices, broken: Broken()}
    gateway = build_gateway(providers={"p": provider}, cache=cache, clock=clock, **parts)
    assert gateway(a_call()).completion() == HELLO
    assert "call_1 was not told" in caplog.text
