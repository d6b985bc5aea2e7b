"""Decisions: every question answered with probabilities that rest on evidence, or refused."""

import threading
from dataclasses import replace

import pytest

from llmapi.core.calls import Call, Choice, Completion, Facts, Target, Usage
from llmapi.core.errors import ProviderRefused, ProviderUnavailable, ValidationFailed
from llmapi.core.money import FREE
from llmapi.core.reply import Reply
from llmapi.tasks.decisions import DecisionsTask
from llmapi.tasks.tab import AT_ONCE, Tab
from tests.tasks.scripted import BASE, token, tokens

LOGPROBS = replace(BASE, targets=(Target("fake", "m", frozenset({"chat", "logprobs"})),))
VOTES = replace(BASE, targets=(Target("fake", "m", frozenset({"chat", "votes"})),))
MINILM = Target("local", "all-minilm-l6-v2", frozenset({"embeddings"}))

ANGRY = {"type": "predicate", "name": "angry", "instructions": "The customer is angry."}
TOPIC = {
    "type": "choice",
    "instructions": "What is it about?",
    "choices": [{"value": "billing", "description": "money"}, {"value": True}, {"value": "true"}],
}
LEVELS = [{"label": "low"}, {"label": "mid"}, {"label": "top"}]
URGENT = {"type": "score", "instructions": "How urgent?", "levels": LEVELS}


class Free:
    def cost(self, target, usage):
        return FREE


class Models:
    def resolve(self, name, *, own_key=False, stored=()):
        return Choice((MINILM,))


class Gateway:
    """Answers each call by what `say` returns for it; an error is raised."""

    def __init__(self, say) -> None:
        self.say, self.calls, self.lock = say, [], threading.Lock()

    def __call__(self, call: Call) -> Reply:
        with self.lock:
            self.calls.append(call)
        answer = self.say(call)
        if isinstance(answer, Exception):
            raise answer
        return Reply.of(answer, Facts("fake", "m"))


def decide(say, *questions, base=LOGPROBS, rules=""):
    gateway = Gateway(say)
    tab = Tab(gateway, Free())
    wanted = {"text": "You charged me twice!", "rules": rules, "questions": list(questions)}
    told = DecisionsTask(Models(), votes=3, system="").answer(tab, base, wanted)
    return told, tab, gateway


def codes(**chances):
    return lambda call: tokens(token("A", **chances))


def test_a_predicate_is_the_probability_of_yes():
    told, _, gateway = decide(codes(A=0.9, B=0.1), ANGRY)
    assert told["answers"] == [{"type": "predicate", "name": "angry", "probability": pytest.approx(0.9)}]
    assert told["evidence"] == "logprobs"
    assert "The customer is angry." in gateway.calls[0].messages[0].text


def test_a_choice_keeps_the_types_of_its_values_and_the_order():
    told, _, _ = decide(codes(A=0.2, B=0.7, C=0.1), TOPIC)
    (answer,) = told["answers"]
    assert answer["choice"] is True
    assert answer["confidence"] == pytest.approx(0.7)
    assert [row["value"] for row in answer["probabilities"]] == ["billing", True, "true"]
    assert [row["probability"] for row in answer["probabilities"]] == pytest.approx([0.2, 0.7, 0.1])


def test_a_score_is_the_expected_level_counted_from_zero():
    told, _, _ = decide(codes(A=0.1, B=0.3, C=0.6), URGENT)
    (answer,) = told["answers"]
    assert answer["score"] == pytest.approx(1.5)
    assert [(row["label"], row["value"]) for row in answer["probabilities"]] == [("low", 0), ("mid", 1), ("top", 2)]


def test_a_question_that_cannot_be_read_is_refused_and_the_others_are_answered():
    def say(call):
        known = "How urgent" not in call.messages[0].text
        return tokens(token("A", A=0.9)) if known else tokens(token("Hm"))

    told, tab, gateway = decide(say, ANGRY, URGENT, TOPIC)
    assert [answer["type"] for answer in told["answers"]] == ["predicate", "refusal", "choice"]
    assert told["answers"][1] == {"type": "refusal", "name": None}
    assert tab.usage.input_tokens == 10 * len(gateway.calls) == 40  # the unreadable one was asked twice


def test_what_a_blocked_question_was_billed_for_counts():
    def say(call):
        blocked = "angry" in call.messages[0].text
        return ProviderRefused("blocked", usage=Usage(7)) if blocked else tokens(token("A", A=0.9))

    told, tab, _ = decide(say, ANGRY, URGENT)
    assert [answer["type"] for answer in told["answers"]] == ["refusal", "score"]
    assert tab.usage == Usage(17, 1)


def test_a_provider_that_is_down_is_no_refusal():
    with pytest.raises(ProviderUnavailable):
        decide(lambda call: ProviderUnavailable("down"), ANGRY, URGENT)


def test_a_model_without_logprobs_votes():
    def say(call):
        return Completion("yes" if call.sample else "no", Usage(1, 1), "stop")

    told, _, gateway = decide(say, ANGRY, base=VOTES)
    assert told["evidence"] == "votes"
    assert told["answers"][0]["probability"] == pytest.approx(2 / 3)
    assert len(gateway.calls) == 3


def test_with_embeddings_a_predicate_is_the_nearness_to_the_statement():
    def say(call):
        near = tuple((1.0, 0.0) if "angry" in text or "charged" in text else (0.0, 1.0) for text in call.inputs)
        return Completion(vectors=near, finish="stop")

    calm = {**ANGRY, "instructions": "All is well."}
    told, _, _ = decide(say, ANGRY, calm, base=replace(BASE, targets=(MINILM,)))
    assert told["evidence"] == "embedding"
    assert told["answers"][0]["probability"] > 0.9 > 0.1 > told["answers"][1]["probability"]


def test_what_the_caller_says_as_developer_rules_every_question():
    _, _, gateway = decide(codes(A=0.9), ANGRY, TOPIC, rules="Refunds are billing.")
    assert all(call.messages[0].text.startswith("Refunds are billing.") for call in gateway.calls)
    assert all("Refunds" not in call.messages[-1].text for call in gateway.calls)


def test_labels_that_cannot_be_told_apart_are_refused_by_their_place_before_anything_is_asked():
    twins = {**TOPIC, "choices": [{"value": "a"}, {"value": "A"}]}
    with pytest.raises(ValidationFailed) as caught:
        decide(lambda call: AssertionError("asked"), ANGRY, twins)
    assert list(caught.value.fields) == ["questions.1.choices"]


def test_many_questions_are_asked_a_few_at_a_time_and_all_are_paid():
    busy, most, lock, full = 0, 0, threading.Lock(), threading.Event()

    def say(call):
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
            if busy == AT_ONCE:
                full.set()
        assert full.wait(10)
        with lock:
            busy -= 1
        return tokens(token("A", A=0.9))

    told, tab, _ = decide(say, *[{**ANGRY, "name": str(number)} for number in range(100)])
    assert [answer["name"] for answer in told["answers"]] == [str(number) for number in range(100)]
    assert most == AT_ONCE
    assert tab.usage == Usage(1000, 100)
