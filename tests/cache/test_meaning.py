"""The decision by meaning: what is served, what is asked, what is learned."""

import json

import numpy as np
import pytest

from llmapi.cache.meaning import Meaning
from llmapi.core.errors import BadSetting

POLICIES = ["vote", "vcache", "fixed:0.9"]


def unit(vector):
    return (vector / np.linalg.norm(vector)).astype(np.float32)


class World:
    """Requests about topics; each topic has one answer and a place, requests scatter around it."""

    def __init__(self, topics=25, seed=0):
        self.dice = np.random.default_rng(seed)
        self.places = [unit(self.dice.normal(size=32)) for _ in range(topics)]

    def ask(self, shifted=False):
        topic = int(self.dice.integers(len(self.places)))
        vector = unit(self.places[topic] + self.dice.normal(size=32) * 0.06)
        if shifted:  # from now on the same place may mean one of two things
            topic = topic * 2 + int(self.dice.integers(2)) + 1000
        return f"thing {chr(97 + topic % 25)} please", vector, str(topic)


def run(meaning, world, requests, max_error, shift_at=10**9, noise=0.0):
    served, wrong, truths = 0, 0, {}
    for number in range(requests):
        text, vector, truth = world.ask(shifted=number >= shift_at)
        verdict = meaning.look(text, vector, max_error)
        if verdict.serve is not None:
            served += 1
            wrong += truths[verdict.serve] != truth
            continue
        truths[str(number)] = truth
        same = None if verdict.judge is None else (truths[verdict.judge] == truth) != (world.dice.random() < noise)
        meaning.learn(verdict, str(number), text, vector, same=same)
    return served, wrong


def test_repeated_meaning_is_served_within_the_bound():
    served, wrong = run(Meaning(), World(), 900, 0.02)
    assert served > 300 and wrong <= 0.02 * 900


def test_the_bound_holds_when_the_world_turns_against_it():
    served, wrong = run(Meaning(), World(), 1200, 0.05, shift_at=400)
    assert wrong <= 0.05 * 1200


def test_the_bound_holds_with_a_judge_that_errs():
    served, wrong = run(Meaning(), World(), 900, 0.05, noise=0.05)
    assert served > 100 and wrong <= 0.05 * 900


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_requests_are_decided_the_same_way(policy):
    assert run(Meaning(policy, seed=4), World(), 250, 0.05) == run(Meaning(policy, seed=4), World(), 250, 0.05)


@pytest.mark.parametrize("policy", POLICIES)
def test_an_empty_cache_is_cold(policy):
    verdict = Meaning(policy).look("What is iron?", unit(np.ones(8)), 0.1)
    assert (verdict.serve, verdict.reason, verdict.judge) == (None, "cold", None)


def filled(policy="fixed:0.9", **more):
    meaning = Meaning(policy, **more)
    meaning.add("e", "Name 4 rivers in Peru", unit(np.ones(8)), "c")
    return meaning


def test_a_veto_refuses_what_is_near_enough():
    assert filled().look("Name 4 rivers of Peru", unit(np.ones(8)), 0.1).serve == "e"
    assert filled().look("Name 9 rivers in Peru", unit(np.ones(8)), 0.1).reason == "veto:numbers"
    assert filled(vetoing=False).look("Name 9 rivers in Peru", unit(np.ones(8)), 0.1).serve == "e"


def test_a_gated_text_is_neither_served_nor_put():
    meaning = filled()
    verdict = meaning.look("Tell me another joke", unit(np.ones(8)), 1.0)
    assert (verdict.serve, verdict.reason) == (None, "gate:random")
    assert meaning.learn(verdict, "new", "Tell me another joke", unit(np.ones(8))) is None
    assert len(meaning) == 1


def test_what_is_classified_is_no_question_and_needs_no_judge():
    meaning = filled("vcache", task="classification")
    verdict = meaning.look("Tell me another joke 5", unit(np.ones(8)), 0.1)
    assert (verdict.reason, verdict.judge, verdict.entry) == ("cold", None, "e")
    assert meaning.learn(verdict, "new", "Tell me another joke 5", unit(np.ones(8)), cluster="other") == "other"


def test_an_equal_answer_joins_the_cluster_and_another_starts_one():
    meaning = filled("vote")
    verdict = meaning.look("Name 4 rivers of Peru", unit(np.ones(8)), 0.1)
    assert meaning.learn(verdict, "f", "Name 4 rivers of Peru", unit(np.ones(8)), same=True) == "c"
    assert meaning.learn(verdict, "g", "Name 4 rivers of Peru", unit(np.ones(8)), same=False) == "g"


def test_a_removed_entry_is_never_served_again():
    meaning = filled()
    meaning.remove("e")
    meaning.remove("e")
    assert meaning.look("Name 4 rivers in Peru", unit(np.ones(8)), 0.1).reason == "cold"


def test_an_entry_that_vanished_meanwhile_breaks_nothing():
    meaning = filled("vote")
    verdict = meaning.look("Name 4 rivers of Peru", unit(np.ones(8)), 0.1)
    meaning.remove("e")
    assert meaning.learn(verdict, "f", "Name 4 rivers of Peru", unit(np.ones(8)), same=True) == "f"


def test_complaints_close_what_praise_keeps_open():
    def chance(good):
        meaning, world = Meaning(seed=1), World()
        run(meaning, world, 500, 0.05)
        asked = (world.ask()[:2] for _ in range(100))
        text, vector, served = next((t, v, found) for t, v in asked if (found := meaning.look(t, v, 0.05).serve))
        for _ in range(60):
            meaning.feedback(served, good)
        return meaning.look(text, vector, 0.05).probability

    assert chance(False) < 0.5 < chance(True)


@pytest.mark.parametrize("policy", POLICIES)
def test_what_was_learned_survives_json(policy):
    meaning = Meaning(policy)
    run(meaning, World(), 300, 0.05)
    again = Meaning(policy)
    again.restore(json.loads(json.dumps(meaning.state())))
    assert again.state() == meaning.state()


@pytest.mark.parametrize("name", ["", "votes", "fixed", "fixed:2", "fixed:x", "vcache:1"])
def test_an_unknown_policy_is_refused(name):
    with pytest.raises(BadSetting):
        Meaning(name)
