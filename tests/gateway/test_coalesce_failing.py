"""A failure is shared when asking again cannot cure it; otherwise those who share ask once more."""

import threading
from collections import Counter

import pytest

from llmapi.core.calls import NOTHING, Usage
from llmapi.core.errors import LlmApiError, ProviderBroken, ProviderRefused, ProviderTimeout
from llmapi.core.errors import ProviderUnavailable as Down
from tests.gateway.conftest import PATIENCE, run
from tests.gateway.sharing import ANSWER, STREAM, Line


@pytest.fixture
def line():
    return Line()


def test_a_failure_nothing_can_cure_is_everybodys_and_billed_once(line):
    refusal = ProviderRefused("blocked", usage=Usage(5))
    line.provider.script = [[line.wait_for_callers(5), refusal]]
    failures = run(*[lambda: line.ask()] * 5)
    assert [str(failure) for failure in failures] == ["blocked"] * 5
    assert len({id(failure) for failure in failures}) == 5
    assert sorted(len(failure.attempts) for failure in failures) == [0, 0, 0, 0, 1]
    assert sum((event.billed for event in line.bus.events), NOTHING) == Usage(5)
    assert (len(line.provider.asked), line.coalesce.under_way()) == (1, 0)


def test_after_a_passing_failure_the_followers_ask_once_more_together(line):
    line.provider.script = [[line.wait_for_callers(10), Down("once")], [line.wait_for_callers(9), *STREAM]]
    results = run(*[lambda: line.ask().completion()] * 10)
    assert Counter(type(result).__name__ for result in results) == {"ProviderUnavailable": 1, "Completion": 9}
    assert len(line.provider.asked) == 2
    assert (line.cache.puts, line.coalesce.under_way()) == (1, 0)


def test_a_second_failure_is_everybodys(line):
    line.provider.script = [[line.wait_for_callers(10), Down("one")], [line.wait_for_callers(1), Down("two")]]
    failures = run(*[lambda: line.ask()] * 10)
    assert sorted(str(failure) for failure in failures) == ["one"] + ["two"] * 9
    assert (len(line.provider.asked), line.coalesce.under_way()) == (2, 0)


def test_a_follower_with_more_time_asks_anew_when_the_leaders_time_was_up(line):
    asking = threading.Event()
    line.provider.script = [[lambda _: asking.set(), line.wait_for_callers(2), ProviderTimeout("slow")], STREAM]

    def follow():
        asking.wait(PATIENCE)
        return line.ask(seconds=100.0).completion()

    failure, answer = run(lambda: line.ask(seconds=50.0), follow)
    assert (type(failure), answer) == (ProviderTimeout, ANSWER)
    assert line.provider.asked[1].lifetime.remaining() > 60.0


def test_a_follower_without_time_left_does_not_ask_anew(line, clock):
    def too_late(_):
        clock.now += 100.0
        raise Down("once")

    asking = threading.Event()
    line.provider.script = [[lambda _: asking.set(), line.wait_for_callers(2), too_late], STREAM]

    def follow():
        asking.wait(PATIENCE)
        return line.ask(seconds=99.0, clock=clock)

    failures = run(lambda: line.ask(), follow)
    assert [str(failure) for failure in failures] == ["once", "once"]
    assert len(line.provider.asked) == 1


def test_who_has_read_something_is_told_the_failure_and_nobody_asks_again(line):
    line.provider.script = [[STREAM[0], ProviderBroken("cut")]]
    replies = [line.ask(), line.ask()]
    failures = []
    for reply in replies:
        with pytest.raises(ProviderBroken) as caught:
            reply.completion()
        failures.append(caught.value)
    assert failures[0] is not failures[1]
    assert [failure.usage for failure in failures] == [Usage(5, 1), NOTHING]
    assert (len(line.provider.asked), line.coalesce.under_way()) == (1, 0)


def test_a_fault_of_ours_reaches_the_followers_as_an_internal_error(line):
    def fault(_):
        raise ZeroDivisionError

    line.provider.script = [[line.wait_for_callers(3), fault]]
    failures = run(*[lambda: line.ask()] * 3)
    assert Counter(type(failure) for failure in failures) == {ZeroDivisionError: 1, LlmApiError: 2}
