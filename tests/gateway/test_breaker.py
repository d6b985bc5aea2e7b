"""A model that fails every time is left alone, and asked now and then whether it is well again."""

import threading

import pytest

from llmapi.core.calls import Chunk, Target
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
    ProviderTimeout,
    ProviderUnavailable,
)
from llmapi.core.events import BreakerChanged
from llmapi.core.routing import Policy
from llmapi.gateway.breaker import Breakers
from llmapi.gateway.overload import Gates
from llmapi.gateway.pipeline import compose
from llmapi.gateway.retry import Retry
from tests.gateway.conftest import HELLO, PATIENCE, ScriptedProvider, a_call, run

M = Target("p", "m")
DOWN = ProviderUnavailable("down", provider_status=503)
OUR_KEY = ProviderInvalid("key", provider_status=401)
BROKEN = [Chunk("Hel"), ProviderBroken("cut")]
BAD = [DOWN, ProviderThrottled("busy"), ProviderTimeout("slow", provider_status=408), ProviderBroken("cut"), OUR_KEY]
GOOD = [ProviderRefused("no"), ContextTooLong("long"), ProviderInvalid("what?", provider_status=400)]
NEUTRAL = [CallEnded("left"), Overloaded("gate"), CircuitOpen("another"), ZeroDivisionError()]


@pytest.fixture
def breakers(bus, clock):
    return Breakers(bus, clock=clock)


def ask(breakers, provider, times=1, **said):
    """Return what became of each call: "ok" or the type of its error; a reply is read to its end."""
    became = []
    for _ in range(times):
        try:
            breakers(a_call(**said), provider.ask).completion()
            became.append("ok")
        except (LlmApiError, ZeroDivisionError) as error:
            became.append(type(error))
    return became


def opened(breakers, provider, error=DOWN):
    """Open the breaker of p/m, and let the provider be asked anew."""
    provider.script = [error]
    ask(breakers, provider, 10)
    assert breakers.resting(M)
    provider.asked, provider.script = [], [HELLO]


def state(breakers):
    return breakers.states()[0]["state"]


def told(bus):
    return [(event.provider, event.model, event.state) for event in bus.events if isinstance(event, BreakerChanged)]


@pytest.mark.parametrize("error", BAD, ids=lambda error: type(error).__name__)
def test_a_model_that_fails_ten_times_is_not_asked_the_eleventh_time(breakers, provider, bus, error):
    provider.script = [error]
    assert ask(breakers, provider, 12) == [type(error)] * 10 + [CircuitOpen] * 2
    assert (len(provider.asked), breakers.resting(M), told(bus)) == (10, True, [("p", "m", "open")])


@pytest.mark.parametrize("error", GOOD + NEUTRAL, ids=lambda error: type(error).__name__)
def test_failures_that_say_nothing_against_the_provider_open_nothing(breakers, provider, error):
    provider.script = [error]
    assert ask(breakers, provider, 50) == [type(error)] * 50


def test_a_smaller_share_of_failures_opens_nothing(breakers, provider):
    provider.script = ([HELLO] * 2 + [DOWN] * 7) * 20  # 78 of 100
    assert CircuitOpen not in ask(breakers, provider, 180)


def test_a_share_reached_among_good_answers_opens_it(breakers, provider):
    provider.script = [HELLO] * 2 + [DOWN] * 50
    assert ask(breakers, provider, 20).count(ProviderUnavailable) == 8


def test_a_sudden_death_is_noticed_in_seconds_though_the_window_is_full_of_good_answers(breakers, provider, clock):
    ask(breakers, provider, 1000)
    provider.script, provider.asked = [DOWN], []
    ask(breakers, provider, 100)  # all at once may be a moment's trouble
    assert state(breakers) == "closed"
    clock.now += 3.0
    ask(breakers, provider, 2)
    assert state(breakers) == "open"


def test_failures_older_than_the_window_are_forgotten(breakers, provider, clock):
    provider.script = [DOWN] * 9 + [HELLO] * 2 + [DOWN]
    ask(breakers, provider, 11)
    clock.now += 31
    ask(breakers, provider, 9)
    assert breakers.states() == [
        {"provider": "p", "model": "m", "state": "closed", "failures": 9, "calls": 9, "retry_in_s": 0.0}
    ]


def test_a_refusal_says_when_to_come_back_and_never_sooner_than_in_a_second(breakers, provider, clock):
    opened(breakers, provider)
    hints = []
    for later in (0.0, 2.0, 2.5):
        clock.now += later
        with pytest.raises(CircuitOpen) as caught:
            breakers(a_call(), provider.ask)
        hints.append(caught.value.retry_after)
    assert hints == [5.0, 3.0, 1.0]
    assert breakers.states()[0] | {"retry_in_s": 0.5} == breakers.states()[0]


def test_a_good_probe_closes_it_with_a_fresh_window(breakers, provider, bus, clock):
    opened(breakers, provider)
    clock.now += 5.0
    assert not breakers.resting(M)
    assert ask(breakers, provider) == ["ok"]
    assert [row["calls"] for row in breakers.states()] == [1]
    assert told(bus) == [("p", "m", "open"), ("p", "m", "half_open"), ("p", "m", "closed")]
    provider.script = [DOWN]
    assert ask(breakers, provider, 9) == [ProviderUnavailable] * 9


def test_a_dead_model_gets_one_probe_each_rest_however_many_ask(breakers, provider, clock):
    opened(breakers, provider)
    provider.script = [DOWN]
    asked_at = []
    for _ in range(600):
        clock.now += 0.1
        before = len(provider.asked)
        ask(breakers, provider, 3)
        asked_at += [clock.now] * (len(provider.asked) - before)
    gaps = [later - earlier for earlier, later in zip(asked_at, asked_at[1:])]
    assert 10 <= len(asked_at) <= 12
    assert min(gaps) >= 5.0


def test_it_closes_within_one_rest_after_the_model_healed(breakers, provider, clock):
    opened(breakers, provider)
    provider.script = [DOWN]
    for _ in range(73):
        clock.now += 0.1
        ask(breakers, provider)
    healed = clock.now
    provider.script = [HELLO]
    while ask(breakers, provider) != ["ok"]:
        clock.now += 0.1
    assert clock.now - healed <= 5.1


def test_of_many_calls_at_once_one_is_the_probe_and_none_of_the_others_waits_for_it(breakers, provider, clock):
    opened(breakers, provider)
    others, asking = threading.Semaphore(0), []

    def probe(call):
        asking.append(call)
        for _ in range(15):
            assert others.acquire(timeout=PATIENCE)
        return provider.stream(call, [Chunk("Hello.")])

    def one():
        became = ask(breakers, provider)
        others.release()
        return became

    provider.script = [probe]
    clock.now += 5.0
    assert sorted(map(str, run(*[one] * 16))) == sorted([str([CircuitOpen])] * 15 + ["['ok']"])
    assert (len(asking), state(breakers)) == (1, "closed")


def test_a_probe_that_hangs_holds_up_neither_the_next_probe_nor_the_healing(breakers, provider, clock):
    opened(breakers, provider)
    hanging, go_on = threading.Event(), threading.Event()

    def hang(_):
        hanging.set()
        assert go_on.wait(PATIENCE)
        raise ProviderTimeout("at last")

    def others():
        assert hanging.wait(PATIENCE)
        became = ask(breakers, provider)
        clock.now += 5.0
        became += ask(breakers, provider)
        go_on.set()
        return became

    provider.script = [hang, HELLO]
    clock.now += 5.0
    first, rest = run(lambda: ask(breakers, provider), others)
    assert (first, rest, state(breakers)) == ([ProviderTimeout], [CircuitOpen, "ok"], "closed")


def test_a_probe_that_answers_late_closes_it_though_a_newer_one_is_under_way(breakers, provider, clock):
    opened(breakers, provider)

    def late(_):
        clock.now += 5.0
        ask(breakers, second)
        return provider.stream(a_call(), [Chunk("Hello.")])

    second = ScriptedProvider("p", DOWN)
    provider.script = [late]
    clock.now += 5.0
    assert ask(breakers, provider) == ["ok"]
    assert (len(second.asked), state(breakers)) == (1, "closed")


@pytest.mark.parametrize(("error", "again"), [(Overloaded("gate"), 0.0), (CallEnded("left"), 5.0)])
def test_a_probe_that_tells_nothing_lets_another_go_but_what_was_sent_counts(breakers, provider, clock, error, again):
    opened(breakers, provider)
    provider.script = [error, HELLO]
    clock.now += 5.0
    ask(breakers, provider)
    assert breakers.states()[0] | {"state": "open", "retry_in_s": again} == breakers.states()[0]
    clock.now += again
    assert ask(breakers, provider) == ["ok"]


@pytest.mark.parametrize(("hint", "rest"), [(2.0, 5.0), (20.0, 20.0), (3600.0, 60.0)])
@pytest.mark.parametrize("kind", [ProviderThrottled, ProviderUnavailable])
def test_a_provider_is_left_alone_as_long_as_it_asked_up_to_a_minute(breakers, provider, clock, kind, hint, rest):
    opened(breakers, provider, kind("busy", retry_after=hint))
    clock.now += rest - 0.5
    assert ask(breakers, provider) == [CircuitOpen]
    clock.now += 0.5
    assert ask(breakers, provider) == ["ok"]


def test_answers_that_break_on_their_way_are_failures(breakers, provider):
    provider.script = [BROKEN]
    assert ask(breakers, provider, 12) == [ProviderBroken] * 10 + [CircuitOpen] * 2
    assert breakers.states()[0]["failures"] == breakers.states()[0]["calls"] == 10


def test_a_reader_who_leaves_early_is_no_failure(breakers, provider):
    provider.script = [[Chunk("Hel"), Chunk("lo.")]]
    for _ in range(20):
        breakers(a_call(), provider.ask).close()
    assert breakers.states()[0] | {"failures": 0, "calls": 20} == breakers.states()[0]


def test_what_was_asked_before_it_opened_says_nothing_afterwards(breakers, provider, clock):
    provider.script = [[Chunk("Hel"), ProviderBroken("cut")], DOWN]
    old = breakers(a_call(), provider.ask)
    ask(breakers, provider, 10)
    clock.now += 5.0
    provider.script = [HELLO]
    ask(breakers, provider)
    with pytest.raises(ProviderBroken):
        old.completion()
    assert breakers.states()[0] | {"state": "closed", "failures": 0, "calls": 1} == breakers.states()[0]


@pytest.mark.parametrize(
    ("seconds", "limit", "became"),
    [(0.3, None, ProviderTimeout), (1.0, None, CircuitOpen), (0.3, 0.3, CircuitOpen)],
)
def test_impatient_calls_do_not_take_a_model_away_from_all(breakers, provider, clock, seconds, limit, became):
    def slow(_):
        clock.now += seconds
        raise ProviderTimeout("no time left")

    provider.script = [slow]
    assert ask(breakers, provider, 12, policy=Policy(attempt_timeout=limit))[-1] == became


@pytest.mark.parametrize("error", [OUR_KEY, ProviderThrottled("busy"), ProviderInvalid("no", provider_status=403)])
def test_a_callers_own_key_that_is_refused_tells_nothing_of_the_provider(breakers, provider, error):
    provider.script = [error]
    assert ask(breakers, provider, 30, provider_key="k") == [type(error)] * 30
    assert breakers.states()[0]["calls"] == 0


@pytest.mark.parametrize(("error", "became"), [(OUR_KEY, "ok"), (DOWN, CircuitOpen)])
def test_who_brings_a_key_passes_when_only_ours_is_refused(breakers, provider, error, became):
    opened(breakers, provider, error)
    assert ask(breakers, provider, 1, provider_key="k") == [became]
    assert (ask(breakers, provider), state(breakers)) == ([CircuitOpen], "open")


def test_each_model_at_each_provider_has_its_own(breakers, provider):
    opened(breakers, provider)
    assert ask(breakers, provider, target=Target("p", "other")) == ["ok"]
    assert ask(breakers, provider, target=Target("q", "m")) == ["ok"]
    assert [breakers.resting(Target(*names)) for names in ("pm", ("p", "other"), "qm", "zz")] == [True] + [False] * 3


def test_any_number_of_models_needs_bounded_room(breakers, provider):
    opened(breakers, provider)
    for number in range(3000):
        ask(breakers, provider, target=Target("p", f"m{number}"))
        ask(breakers, provider)  # in use, so it stays
    assert (len(breakers.states()), breakers.resting(M)) == (1000, True)
    assert all(len(breaker.counts._ring) == 10 for breaker in breakers._breakers.values())


def test_no_outcome_is_lost_between_threads(breakers, provider):
    provider.script = [HELLO]
    run(*[lambda: ask(breakers, provider, 100)] * 16)
    assert breakers.states()[0]["calls"] == 1600


def test_a_dead_provider_costs_a_call_nothing_once_retries_and_gate_know_of_it_too(breakers, provider, clock):
    naps = []
    retry = Retry(sleep=lambda seconds, _: naps.append(seconds), resting=breakers.resting)
    handler = compose([retry, breakers, Gates(clock=clock)], provider.ask)
    provider.script = [DOWN]
    for _ in range(1000):
        with pytest.raises(ProviderUnavailable):
            handler(a_call())
    assert (len(provider.asked), len(naps) <= 7) == (10, True)
    for _ in range(100):
        clock.now += 1.0
        with pytest.raises(ProviderUnavailable):
            handler(a_call())
    assert 30 >= len(provider.asked) >= 25
    assert len(naps) <= 7  # a failed probe is not repeated
    provider.script = [HELLO]
    clock.now += 5.0
    assert handler(a_call()).completion() == HELLO
