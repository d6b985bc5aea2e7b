"""Answers by meaning on the gateway's line: who gets one, who never does, and what is told."""

import pytest

from llmapi.core.calls import CacheWish, Completion, Message, Target, Tool, Usage
from llmapi.core.errors import CacheMiss
from llmapi.core.kept import Mark
from llmapi.gateway.semantic_rules import Rules
from tests.gateway.by_meaning import Line
from tests.gateway.conftest import a_call


@pytest.fixture
def line():
    made = Line()
    yield made
    made.semantic.close()


def test_a_question_of_the_same_meaning_is_answered_from_the_cache(line):
    line.ask("What is the capital of France?")
    text, facts = line.ask("Tell me what is the capital of France")
    assert (text, facts.cache, facts.reason) == ("About france.", "semantic", "served")
    assert facts.similarity > 0.8 and facts.probability > 0 and facts.kept.startswith("kept_")
    assert len(line.provider.asked) == 1


def test_nobody_gets_an_answer_by_meaning_who_did_not_ask_for_it(line):
    line.ask("What is the capital of France?")
    assert line.ask("What is a capital of France?", max_error=None)[1].cache == "miss"
    assert line.ask("what is the capital of France", max_error=0.0)[1].reason == ""


def test_tasks_and_tenants_can_ask_for_all_their_requests():
    line = Line(rules=Rules(tasks={"text": 0.05}, tenants={"strict": 0.0, "chatty": 0.1}))
    for tenant, task, served in (("acme", "text", True), ("strict", "text", False), ("chatty", "chat", True)):
        line.ask("What is the capital of France?", tenant=tenant, task=task, max_error=None)
        facts = line.ask("what is the capital of France", tenant=tenant, task=task, max_error=None)[1]
        assert (facts.cache == "semantic") == served, tenant


def test_the_first_question_loads_nothing_unless_it_asks(line):
    line.ask("What is the capital of France?", max_error=None)
    assert line.embedder.asked == []


def test_an_answer_by_meaning_is_not_kept_as_one_to_the_very_question(line):
    line.ask("What is the capital of France?")
    first = line.ask("what is the capital of France")[1]
    again = line.ask("what is the capital of France")[1]
    assert (first.cache, again.cache) == ("semantic", "semantic")


def test_the_very_same_question_is_an_exact_hit(line):
    line.ask("What is the capital of France?")
    assert line.ask("What is the capital of France?")[1].cache == "hit"


def test_the_very_same_question_is_known_when_the_exact_cache_has_lost_it(line):
    line.ask("What is the capital of France?")
    line.cache.drop([key for key in list(line.cache._shelf)])
    assert line.ask("What is the capital of France?")[1].reason == "identical"


def test_nobody_gets_an_answer_older_than_he_accepts():
    now = [1000.0]
    line = Line(clock=lambda: now[0])
    line.ask("What is the capital of France?", ttl=600.0)
    now[0] += 61
    for said in ("What is the capital of France?", "what is the capital of France"):
        line.cache.drop(list(line.cache._shelf))
        assert line.ask(said, mode="only", ttl=62.0)[1].cache == "semantic"
        with pytest.raises(CacheMiss) as caught:
            line.ask(said, mode="only", ttl=60.0)
        assert caught.value.details["reason"] == "too old"
    assert line.ask("what is the capital of France", ttl=60.0)[1].reason == "too old"
    line.cache.drop(list(line.cache._shelf))
    assert line.ask("what is the capital of France", ttl=60.0)[1].cache == "semantic", "the new one"


def test_a_number_that_differs_is_never_served(line):
    line.ask("Name 4 rivers in Peru please")
    assert line.ask("Name 5 rivers in Peru please")[1].reason == "veto:numbers"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"tools": (Tool("f"),)}, "tools"),
        ({"temperature": 1.5}, "temperature"),
        ({"sample": 1}, "sample"),
        ({"logprobs": 3}, "logprobs"),
        ({"messages": (Message("user", "a"), Message("assistant", "b"))}, "context"),
        ({"messages": (Message("user", "x" * 3000),)}, "long"),
        ({"messages": (Message("user", " "),)}, "empty"),
    ],
)
def test_what_must_not_get_another_questions_answer_says_why(line, said, reason):
    assert line.ask("What is the capital of France?", **said)[1].reason == reason
    assert line.spaces.stats()["entries"] == 0


def test_a_volatile_question_is_kept_for_the_very_same_one_alone_and_not_for_long():
    line = Line(rules=Rules(volatile_ttl=120.0))
    facts = line.ask("What is the weather in Paris right now?")[1]
    again = line.ask("What is the weather in Paris right now?")[1]
    assert facts.reason == "gate:volatile" and again.cache == "hit" and 0 < again.ttl <= 120.0
    assert line.ask("what is the weather in Paris right now")[1].cache == "miss"


def test_only_takes_an_answer_by_meaning_or_none(line):
    line.ask("What is the capital of France?")
    assert line.ask("what is the capital of France", mode="only")[1].cache == "semantic"
    with pytest.raises(CacheMiss) as raised:
        line.ask("Why is the sea blue?", mode="only")
    assert raised.value.details["reason"] == "below threshold" and len(line.provider.asked) == 1


def test_refresh_asks_anew_and_replaces_what_was_kept(line):
    line.ask("What is the capital of France?")
    assert line.ask("What is the capital of France?", mode="refresh")[1].cache == "miss"
    assert len(line.provider.asked) == 2 and line.spaces.stats()["entries"] == 1


def test_bypass_neither_looks_nor_learns(line):
    assert line.ask("What is the capital of France?", mode="bypass")[1].cache == "bypass"
    assert line.embedder.asked == []


def test_an_answer_that_was_cut_is_not_kept():
    line = Line(answer=Completion("Par", Usage(5, 2), "length"))
    line.ask("What is the capital of France?")
    assert line.spaces.stats()["entries"] == 0


def test_feedback_evicts_for_the_owner_alone(line):
    line.ask("What is the capital of France?")
    kept = line.ask("what is the capital of France")[1].kept
    assert not line.semantic.feedback(kept, False, True, tenant="other")
    assert not line.semantic.feedback("kept_nonsense", False, True, tenant="acme")
    assert line.semantic.feedback(kept, False, True, tenant="acme")
    assert line.ask("what is a capital of France")[1].cache == "miss"


def test_a_mark_takes_away_what_was_asked_before_it(line):
    line.ask("What is the capital of France?")
    line.semantic.drop(Mark("other", "all", "", 1e12))
    assert line.ask("what is the capital of France")[1].cache == "semantic"
    line.semantic.drop(Mark("acme", "task", "text", 1e12))
    assert line.ask("what is a capital of France")[1].cache == "miss"


def test_what_is_cleared_by_its_key_is_not_given_as_an_answer_by_meaning_either(line):
    line.ask("What is the capital of France?")
    line.ask("Why is the sea blue?")
    mark = Mark("acme", "key", line.bus.events[0].question, 1e12)
    line.cache.mark([mark])
    line.semantic.drop(mark)
    assert line.ask("What is the capital of France?")[1].cache == "miss"
    assert line.ask("why is the sea blue")[1].cache == "semantic"


def test_a_mark_that_came_before_the_first_question_holds_too(line):
    line.semantic.drop(Mark("acme", "task", "text", 1e12))
    for number in range(1000):
        line.semantic.drop(Mark(f"t{number}", "all", "", 1e12))
    line.ask("What is the capital of France?")
    assert line.ask("what is the capital of France")[1].cache == "miss"


def test_what_would_have_been_served_is_checked_now_and_then():
    line = Line(policy="vote")
    for number in range(200):
        thanks = " thanks" * (number % 7) + " friend" * (number // 7)
        line.ask(f"what is the capital of France{thanks}", max_error=0.2, task="classify")
    error = line.semantic.stats("acme")["error"]
    assert (error["estimate"], error["n"] > 0, error["high"] < 1) == (0.0, True, True)
    assert line.semantic.stats("other")["error"] is None
    line.semantic.close()


def test_explaining_names_the_nearest_and_changes_nothing(line):
    line.ask("What is the capital of France?")
    line.ask("Name 4 rivers in Peru")
    before = line.spaces.stats()
    call = a_call(messages=(Message("user", "Name 5 rivers in Peru"),), cache=CacheWish(max_error=0.05))
    told = line.semantic.explain(call)
    assert (told["served"], told["reason"]) == (False, "veto:numbers")
    assert [each["refused"] for each in told["entries"]][0] == "veto:numbers"
    assert line.spaces.stats() == before and len(line.provider.asked) == 2


def test_explaining_tells_what_the_call_itself_would_be_told():
    now = [1000.0]
    line = Line(clock=lambda: now[0])
    line.ask("What is the capital of France?", ttl=600.0)
    call = a_call(messages=(Message("user", "What is the capital of France?"),), cache=CacheWish("only", 60.0, 0.05))
    for seconds, told in ((60.0, (True, "identical")), (61.0, (False, "too old")), (600.0, (False, "expired"))):
        now[0] = 1000.0 + seconds
        found = line.semantic.explain(call)
        assert (found["served"], found["reason"]) == told


def elsewhere(number):
    """Return a call's namespace, one of 10,000: tenant, system prompt or label set, model and temperature differ."""
    a, b, c, d = (int(digit) for digit in f"{number:04}")
    rules = f"Be brief {a}." if a % 2 else f"The labels:\n{a}. yes"
    said = (Message("system", rules), Message("user", "What is the capital of France?"))
    return {"tenant": f"t{b}", "targets": (Target("p", f"m{c}"),), "temperature": d / 10, "messages": said}


def test_ten_thousand_calls_with_the_same_text_get_nothing_from_another_namespace():
    line, homes = Line(policy="fixed:0.1"), range(0, 10_000, 501)
    for number in homes:
        line.ask("", **elsewhere(number))
    reasons = []
    for number in set(range(10_000)) - set(homes):
        with pytest.raises(CacheMiss) as raised:
            line.ask("", mode="only", **elsewhere(number))
        reasons.append(raised.value.details["reason"])
    assert set(reasons) == {"cold"} and len(line.provider.asked) == len(homes)
