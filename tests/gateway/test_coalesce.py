"""Identical calls at the same time ask once."""

import pytest

from llmapi.core.calls import NOTHING, CacheWish
from tests.gateway.conftest import run
from tests.gateway.sharing import ANSWER, STREAM, Line


@pytest.fixture
def line():
    return Line()


def test_twenty_identical_calls_ask_once_and_are_paid_once(line):
    line.provider.script = [[line.wait_for_callers(20), *STREAM]]
    answers = run(*[lambda: line.ask().completion()] * 20)
    assert answers == [ANSWER] * 20
    assert len(line.provider.asked) == 1
    assert line.cached() == {"miss": 1, "coalesced": 19}
    assert sum((event.billed for event in line.bus.events), NOTHING) == ANSWER.usage
    assert sum(event.cost.nanos for event in line.bus.events) == 7000
    assert (line.cache.puts, line.coalesce.under_way()) == (1, 0)


def test_who_shares_learns_who_answered_but_did_not_attempt_anything(line):
    line.provider.script = [STREAM]
    leader, follower = line.ask(), line.ask()
    assert (follower.facts.provider, follower.facts.model, follower.facts.cache) == ("p", "m", "coalesced")
    assert (len(leader.facts.attempts), follower.facts.attempts) == (1, ())


def test_streamed_and_plain_calls_share_and_a_late_one_gets_the_answer_from_its_start(line):
    line.provider.script = [STREAM]
    streamed = iter(line.ask(stream=True))
    assert [next(streamed).text, next(streamed).text] == ["Hel", "lo"]
    assert line.ask(stream=False).completion() == ANSWER
    assert [chunk.text for chunk in streamed] == ["."]
    assert len(line.provider.asked) == 1


def test_a_call_that_comes_between_the_end_and_the_keeping_does_not_ask_again(line):
    line.provider.script = [STREAM]
    late = []
    reply = line.ask(good=lambda _: late.append(line.ask().completion()) is None)  # asked when about to be kept
    assert reply.completion() == ANSWER
    assert (late, len(line.provider.asked)) == ([ANSWER], 1)
    assert line.ask().facts.cache == "hit"


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"cache": CacheWish("bypass")}, {"cache": CacheWish("bypass")}),
        ({"cache": CacheWish("use")}, {"cache": CacheWish("refresh")}),
        ({"tenant": "a"}, {"tenant": "b"}),
        ({"sample": 0}, {"sample": 1}),
    ],
)
def test_calls_that_want_answers_of_their_own_do_not_share(line, one, two):
    line.provider.script = [STREAM]
    replies = [line.ask(**one), line.ask(**two)]
    assert [reply.completion() for reply in replies] == [ANSWER, ANSWER]
    assert len(line.provider.asked) == 2


def test_refreshes_share_with_each_other(line):
    line.provider.script = [STREAM]
    replies = [line.ask(cache=CacheWish("refresh")) for _ in range(2)]
    assert [reply.completion() for reply in replies] == [ANSWER, ANSWER]
    assert (len(line.provider.asked), line.cache.puts) == (1, 1)


def test_a_call_that_is_sent_again_joins_its_first_sending_though_it_wants_no_cache(line):
    line.provider.script = [STREAM]
    first = line.ask(cache=CacheWish("bypass"))
    again = line.ask(cache=CacheWish("bypass"), again=True)
    assert (first.completion(), again.completion()) == (ANSWER, ANSWER)
    assert (first.facts.cache, again.facts.cache, len(line.provider.asked)) == ("bypass", "coalesced", 1)


def test_who_pays_with_a_key_of_his_own_shares_with_nobody(line):
    line.provider.script = [STREAM]
    own, other = line.ask(provider_key="sk-of-the-caller"), line.ask(provider_key="sk-of-another")
    assert (own.completion(), other.completion(), line.ask().facts.cache) == (ANSWER, ANSWER, "hit")
    assert len(line.provider.asked) == 2
