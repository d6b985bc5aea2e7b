"""Answers by meaning on the gateway's line: who gets one, who never does, what is told and what is learned."""

import threading
import time

import numpy as np
import pytest

from llmapi.cache.memory import MemoryCache
from llmapi.cache.semantic import Spaces
from llmapi.core.calls import CacheWish, Completion, Facts, Message, Target, Tool, Usage
from llmapi.core.errors import CacheMiss
from llmapi.core.kept import Mark
from llmapi.core.reply import Reply
from llmapi.gateway.recipe import build_gateway
from llmapi.gateway.semantic import Semantic
from llmapi.gateway.semantic_rules import Rules
from tests.gateway.conftest import KeptEvents, PennyPrices, ScriptedProvider, a_call

CITIES = ("France", "Spain", "Peru", "Japan", "Norway", "Kenya")
FORMS = ("What is the capital of {}?", "Tell me the capital city of {}", "Name the capital of {}")


class Letters:
    """An embedder of the test's: near are texts of like words, however they stand."""

    def __init__(self):
        self.asked = []

    def embed(self, texts):
        self.asked += texts
        return [tuple(self._vector(text)) for text in texts]

    def _vector(self, text):
        vector = np.zeros(64, dtype=np.float32)
        for word in text.lower().strip("?.").split():
            vector += np.random.default_rng(sum(map(ord, word)) * 31 + len(word)).normal(size=64)
        return vector / np.linalg.norm(vector)


def about(call):
    """Answer with the last word of the question."""
    word = call.messages[-1].text.rpartition(" ")[2].strip("?").lower()
    return Reply.of(Completion(f"About {word}.", Usage(5, 2), "stop"), Facts())


class Line:
    """A gateway with the cache by meaning, on which questions are asked."""

    def __init__(self, *, policy="fixed:0.8", rules=Rules(), judge=None, share=1.0, answer=about, clock=time.time):
        self.provider, self.bus, self.embedder = ScriptedProvider("p", answer), KeptEvents(), Letters()
        self.spaces = Spaces(policy, clock=clock)
        self.semantic = Semantic(
            lambda: self.spaces, lambda: self.embedder, rules, judge=judge, judge_share=share, clock=clock
        )
        self.cache = MemoryCache(1000, 3600.0)
        self.gateway = build_gateway(
            providers={"p": self.provider},
            cache=self.cache,
            bus=self.bus,
            prices=PennyPrices(),
            semantic=self.semantic,
        )

    def ask(self, text, *, mode="use", max_error=0.05, ttl=None, **said):
        wish = CacheWish(mode, ttl, max_error)
        said.setdefault("messages", (Message("user", text),))
        reply = self.gateway(a_call(cache=wish, **said))
        return reply.completion().text, reply.facts


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


class Judge:
    """Says what it is told to, and remembers that it was asked."""

    def __init__(self, says=True):
        self.says, self.asked, self.heard = says, [], threading.Event()

    def __call__(self, call, kept, fresh):
        self.asked.append((kept, fresh))
        self.heard.set()
        return self.says

    def close(self):
        pass


def questions(line):
    for form in FORMS:
        for city in CITIES:
            line.ask(form.format(city))


def test_doubtful_answers_are_judged_behind_the_caller_within_a_share_of_the_requests():
    judge = Judge()
    line = Line(policy="vcache", judge=judge, share=0.2, answer=lambda call: Reply.of(
        Completion(call.messages[-1].text, Usage(5, 2), "stop"), Facts()
    ))
    questions(line)
    assert judge.heard.wait(5.0)
    line.semantic.close()
    assert 1 <= len(judge.asked) <= 0.2 * len(CITIES) * len(FORMS)


def test_nobody_is_asked_to_judge_while_no_one_asks_for_answers_by_meaning():
    judge = Judge()
    line = Line(policy="vcache", judge=judge)
    for form in FORMS:
        line.ask(form.format("Peru"), max_error=None)
    line.semantic.close()
    assert judge.asked == []


def test_without_a_judge_equal_words_are_equal_answers():
    line = Line(policy="vcache", share=0.0)
    questions(line)
    assert line.spaces.stats()["labels"] > 0


def test_a_classification_is_compared_by_its_label_for_nothing():
    judge = Judge()
    line = Line(policy="vcache", judge=judge, answer=Completion("A.", Usage(5, 1), "stop"))
    for form in FORMS:
        text = f"<text>\n{form.format('Peru')}\n</text>"
        line.ask(text, task="classify", messages=(Message("system", "labels"), Message("user", text)))
    line.semantic.close()
    assert judge.asked == [] and line.spaces.stats()["labels"] == len(FORMS) - 1
