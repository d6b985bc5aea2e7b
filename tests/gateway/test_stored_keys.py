"""Keys that tenants have stored: each provider sees its own, a tenant shares its answers, nobody else is blamed."""

import threading

import pytest

from llmapi.core.calls import Target
from llmapi.core.errors import Overloaded, ProviderInvalid, ProviderUnavailable
from llmapi.core.events import CallFinished
from llmapi.gateway.breaker import Breakers
from llmapi.gateway.overload import Gates
from llmapi.gateway.recipe import Guards, build_gateway
from llmapi.gateway.retry_budget import RetryBudget
from tests.gateway.conftest import HELLO, PATIENCE, ScriptedProvider, a_call

TWO = (Target("a", "first"), Target("b", "second"))
STORED = {("acme", "a"): "acme-at-a"}
REFUSED = ProviderInvalid("no", provider_status=401)


@pytest.fixture
def keys():
    return dict(STORED)


@pytest.fixture
def house(cache, bus, prices, clock, keys):
    """Two providers, their gateway, and its breakers."""
    a, b = ScriptedProvider("a"), ScriptedProvider("b")
    breakers = Breakers(bus, least=2, clock=clock)
    gateway = build_gateway(
        providers={"a": a, "b": b},
        cache=cache,
        bus=bus,
        prices=prices,
        guards=Guards(breakers, Gates(clock=clock), RetryBudget(clock=clock)),
        keys=lambda tenant, provider: keys.get((tenant, provider), ""),
        attempts=1,
        clock=clock,
    )
    return a, b, gateway, breakers


def told(bus):
    return [event.own_key for event in bus.events if isinstance(event, CallFinished)]


def test_each_provider_sees_the_key_stored_for_it_and_no_other(house, bus):
    a, b, gateway, _ = house
    a.script = [ProviderUnavailable("away")]
    assert gateway(a_call(targets=TWO, tenant="acme")).completion() == HELLO
    assert (a.asked[0].provider_key, b.asked[0].provider_key) == ("acme-at-a", "")
    assert told(bus) == [False]  # the operator's key was used too


def test_a_call_is_its_tenants_to_pay_when_only_its_keys_were_used(house, bus):
    _, _, gateway, _ = house
    for tenant in ("acme", "other"):
        gateway(a_call(targets=TWO[:1], tenant=tenant)).completion()
    assert told(bus) == [True, False]


def test_calls_of_one_tenant_share_an_answer_that_is_under_way(house):
    a, _, gateway, _ = house
    asked, go = threading.Event(), threading.Event()

    def slow(call):
        asked.set()
        go.wait(PATIENCE)
        return a.stream(call, [HELLO.chunk()])

    a.script = [slow]
    found = []
    calls = [a_call(targets=TWO[:1], tenant="acme") for _ in range(2)]
    threads = [threading.Thread(target=lambda call=call: found.append(gateway(call).completion())) for call in calls]
    threads[0].start()
    asked.wait(PATIENCE)
    threads[1].start()
    go.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert found == [HELLO, HELLO] and len(a.asked) == 1


def test_a_refused_stored_key_opens_no_breaker(house):
    a, _, gateway, breakers = house
    a.script = [REFUSED]
    for number in range(8):
        with pytest.raises(ProviderInvalid):
            gateway(a_call(id=str(number), targets=TWO[:1], tenant="acme"))
    assert breakers.states()[0]["state"] == "closed"
    with pytest.raises(ProviderInvalid):
        gateway(a_call(id="x", targets=TWO[:1], tenant="other"))
    with pytest.raises(ProviderInvalid):
        gateway(a_call(id="y", targets=TWO[:1], tenant="other"))
    assert breakers.states()[0]["state"] == "open"  # the operator's own key, refused


def test_when_it_is_not_known_whose_key_pays_nobody_is_asked(cache, bus, prices):
    def away(tenant: str, provider: str) -> str:
        raise Overloaded("the storage is away")

    a = ScriptedProvider("a")
    gateway = build_gateway(providers={"a": a}, cache=cache, bus=bus, prices=prices, keys=away)
    with pytest.raises(Overloaded):
        gateway(a_call(targets=TWO[:1]))
    assert a.asked == []
