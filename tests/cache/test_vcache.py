"""vCache: each entry earns its own threshold."""

import json

import numpy as np
import pytest

from llmapi.cache.vcache import VCache, exploration
from llmapi.cache.votes import Clusters, Near

LINE = np.zeros(2, dtype=np.float32)


def near(cosine):
    return Near(["e"], np.asarray([cosine]), ["c"], np.zeros((1, 2)))


def taught(seen, seed=0):
    policy = VCache(seed)
    for cosine, right in seen:
        policy.learn(["e", cosine], right)
    return policy


def test_an_entry_is_cold_until_four_answers_were_compared():
    three = [(0.9, True)] * 3
    assert taught(three).decide(near(0.99), LINE, Clusters(), 0.5).reason == "cold"
    assert taught([*three, (0.9, True)]).decide(near(0.99), LINE, Clusters(), 0.5).reason != "cold"


def test_the_closer_and_the_looser_the_bound_the_less_is_explored():
    seen = [(0.6, 0.0), (0.7, 0.0), (0.85, 1.0), (0.9, 1.0), (0.95, 1.0)] * 4
    close, far = exploration(seen, 0.99, 0.02), exploration(seen, 0.5, 0.02)
    assert close < far
    assert exploration(seen, 0.99, 0.1) < close


def test_what_is_not_separable_is_trusted_less():
    clean = [(0.7, 0.0), (0.9, 1.0)] * 10
    mixed = [*clean, *[(0.9, 0.0), (0.7, 1.0)] * 6]
    assert exploration(mixed, 0.9, 0.05) > exploration(clean, 0.9, 0.05)


@pytest.mark.parametrize("max_error", [0.01, 0.05])
def test_served_answers_are_wrong_no_oftener_than_asked(max_error):
    dice, wrong, policy = np.random.default_rng(3), 0, VCache(3)
    for _ in range(1200):
        cosine = float(dice.uniform(0.6, 1.0))
        right = bool(dice.random() < 1 / (1 + np.exp(-40 * (cosine - 0.85))))
        choice = policy.decide(near(cosine), LINE, Clusters(), max_error)
        if choice.serve:
            wrong += not right
        else:
            policy.learn(choice.ticket, right)
    assert wrong <= max_error * 1200


def test_only_an_answer_that_differs_is_worth_an_entry():
    assert [VCache().learn(["e", 0.9], same) for same in (True, False)] == [False, True]


def test_what_was_learned_survives_json():
    policy = taught([(0.8, True), (0.6, False)])
    again = VCache()
    again.restore(json.loads(json.dumps(policy.state())))
    assert again.state() == policy.state()
