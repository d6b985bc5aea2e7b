"""A known question is answered from the cache; only whole good answers are kept."""

import pytest

from llmapi.core.calls import CacheWish, Chunk, Completion, Tool, ToolCall, Usage
from llmapi.core.errors import CacheMiss, ProviderBroken
from tests.gateway.conftest import HELLO, a_call

STREAM = [Chunk("Hel", Usage(5, 1)), Chunk("lo.", Usage(0, 1), "stop")]


def wish(mode="use", ttl=None):
    return a_call(cache=CacheWish(mode, ttl))


def test_a_repeated_question_is_asked_once_and_answered_with_its_age(gateway, provider, clock):
    first = gateway(a_call(id="1"))
    assert (first.completion(), first.facts.cache) == (HELLO, "miss")
    clock.now += 20.0
    again = gateway(a_call(id="2"))
    assert again.completion() == HELLO
    facts = again.facts
    assert (facts.cache, facts.age, facts.ttl, facts.provider, facts.model) == ("hit", 20.0, 40.0, "p", "m")
    assert len(provider.asked) == 1


@pytest.mark.parametrize("streams", [(True, False), (False, True)])
def test_streamed_and_plain_answers_share_one_record(gateway, provider, streams):
    provider.script = [STREAM if streams[0] else HELLO]
    gateway(a_call(stream=streams[0])).completion()
    assert gateway(a_call(stream=streams[1])).completion() == HELLO
    assert len(provider.asked) == 1


@pytest.mark.parametrize("answer", [Completion("Hel", finish="length"), Completion("Hel", finish="other")])
def test_an_answer_that_is_not_whole_is_not_kept(gateway, provider, answer):
    provider.script = [answer]
    assert gateway(a_call()).completion() == answer
    assert gateway(a_call()).facts.cache == "miss"


def test_an_answer_the_task_calls_bad_is_not_kept(gateway):
    gateway(a_call(good=lambda answer: answer.text == "Bye.")).completion()
    assert gateway(a_call()).facts.cache == "miss"


def test_vectors_are_kept_though_they_have_no_finish(gateway, provider):
    provider.script = [Completion(vectors=((0.6, 0.8),))]
    question = a_call(messages=(), inputs=("hello",))
    gateway(question).completion()
    again = gateway(question)
    assert (again.facts.cache, again.completion().vectors) == ("hit", ((0.6, 0.8),))


def test_a_stream_left_early_or_cut_is_not_kept(gateway, provider):
    provider.script = [STREAM, [STREAM[0], ProviderBroken("cut")], HELLO]
    for _ in gateway(a_call()):
        break
    with pytest.raises(ProviderBroken):
        gateway(a_call()).completion()
    assert gateway(a_call()).facts.cache == "miss"


def test_refresh_asks_anew_and_keeps_the_new_answer(gateway, provider):
    provider.script = [Completion("old", finish="stop"), Completion("new", finish="stop")]
    gateway(a_call()).completion()
    fresh = gateway(wish("refresh"))
    assert (fresh.completion().text, fresh.facts.cache) == ("new", "miss")
    assert gateway(a_call()).completion().text == "new"


def test_bypass_neither_reads_nor_keeps(gateway, provider):
    reply = gateway(wish("bypass"))
    reply.completion()
    assert reply.facts.cache == "bypass"
    assert gateway(a_call()).facts.cache == "miss"
    gateway(wish("bypass")).completion()
    assert len(provider.asked) == 3


def test_only_takes_what_is_kept_or_fails(gateway, provider):
    with pytest.raises(CacheMiss):
        gateway(wish("only"))
    assert provider.asked == []
    gateway(a_call()).completion()
    assert gateway(wish("only")).completion() == HELLO


def test_an_answer_older_than_the_caller_accepts_is_asked_anew(gateway, provider, clock):
    gateway(a_call()).completion()
    clock.now += 10.0
    assert gateway(wish(ttl=10.0)).facts.cache == "hit"
    assert gateway(wish(ttl=9.9)).facts.cache == "miss"
    with pytest.raises(CacheMiss):
        gateway(wish("only", ttl=9.9))


def test_an_answer_is_kept_for_the_span_its_caller_wished(gateway, clock):
    gateway(wish(ttl=5.0)).completion()
    assert gateway(a_call()).facts.ttl == 5.0
    clock.now += 5.0
    assert gateway(a_call()).facts.cache == "miss"


def test_tenants_do_not_share_answers(gateway, provider):
    gateway(a_call(tenant="a")).completion()
    assert gateway(a_call(tenant="b")).facts.cache == "miss"


@pytest.mark.parametrize("mode", ["use", "refresh", "bypass"])
def test_a_call_whose_answer_was_lost_gets_it_again_in_any_mode_even_one_that_is_not_kept(gateway, provider, mode):
    provider.script = [Completion("Hel", Usage(5, 1), "length")]
    lost = gateway(a_call(cache=CacheWish(mode))).completion()
    again = gateway(a_call(cache=CacheWish(mode), again=True))
    assert (again.completion(), again.facts.cache) == (lost, "hit")
    assert len(provider.asked) == 1


def test_a_lost_answer_is_given_again_for_two_minutes(gateway, provider, clock):
    gateway(wish("bypass")).completion()
    clock.now += 121.0
    gateway(a_call(cache=CacheWish("bypass"), again=True)).completion()
    assert len(provider.asked) == 2


def test_an_answer_that_wants_a_tool_called_is_kept(gateway, provider):
    wants = Completion("", Usage(5, 1), "tool_calls", tool_calls=(ToolCall(0, "call_1", "add", "{}"),))
    provider.script = [wants]
    gateway(a_call(tools=(Tool("add"),))).completion()
    again = gateway(a_call(tools=(Tool("add"),)))
    assert (again.facts.cache, again.completion()) == ("hit", wants)
