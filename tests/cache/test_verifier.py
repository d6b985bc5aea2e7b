"""The pair verifier: one word may turn a question round."""

import numpy as np
import pytest

from llmapi.cache.lexicon import english
from llmapi.cache.pair_features import NAMES, features
from llmapi.cache.readings import read
from llmapi.cache.verifier import Trees, shipped

SAME = ("How can I renew a passport?", "How do I renew my passport?", 0.9)
TRAPS = [
    ("How can I renew a passport?", "How can I renew a visa?", 0.85),
    ("Is the museum open before noon?", "Is the museum open after noon?", 0.97),
    ("Did Karim lend Rosa a car?", "Did Rosa lend Karim a car?", 0.98),
    ("Which snakes are dangerous?", "Which snakes are not dangerous?", 0.93),
    ("Name 4 rivers in Peru", "Name 9 rivers in Peru", 0.97),
]


def test_a_paraphrase_is_likelier_than_a_trap_though_the_cosine_says_otherwise():
    good = shipped().probability(*SAME)
    assert [trap for trap in TRAPS if shipped().probability(*trap) >= good] == []


@pytest.mark.parametrize(("a", "b", "cosine"), [SAME, *TRAPS])
def test_the_order_of_a_pair_does_not_matter(a, b, cosine):
    assert shipped().probability(a, b, cosine) == pytest.approx(shipped().probability(b, a, cosine))


@pytest.mark.parametrize(
    ("name", "a", "b"),
    [
        ("numbers_differ", "pay 3 euros", "pay 4 euros"),
        ("negation", "birds that fly", "birds that do not fly"),
        ("antonyms", "buy a house", "sell a house"),
        ("cancelled", "be more polite", "be less rude"),
        ("names_differ", "the mayor of Oslo", "the mayor of Bergen"),
        ("asks_differ", "when did Rome fall", "why did Rome fall"),
        ("roles", "did the dog bite the man", "did the man bite the dog"),
        ("reordered", "did the dog bite the man", "did the man bite the dog"),
        ("tense", "is he a teacher", "was he a teacher"),
        ("nothing_odd", "please list the planets", "list the planets"),
    ],
)
def test_a_feature_sees_what_it_is_named_after(name, a, b):
    assert features(read(a), read(b), 0.9, english())[NAMES.index(name)] > 0


def test_lists_joined_by_and_may_change_places():
    row = features(read("compare apples and pears"), read("compare pears and apples"), 0.99, english())
    assert row[NAMES.index("roles")] == 0


@pytest.mark.parametrize("text", ["", "?", "日本の首都はどこですか", "x" * 5000, "\ud800", "1,2,3 4.5.6 // ''"])
def test_any_text_has_features(text):
    row = features(read(text), read("Where is Rome?"), 0.1, english())
    assert len(row) == len(NAMES) and np.isfinite(row).all()


def test_trees_are_walked_to_the_leaf_their_limits_say():
    trees = Trees(0.5, [[0, 1, 1]], [[1.0, 5.0, 7.0]], [[1.0, 2.0, 3.0, 4.0]])
    rows = np.asarray([[0.0, 4.0], [0.0, 5.0], [1.0, 6.0], [2.0, 8.0]])
    assert trees.raw(rows).tolist() == [1.5, 2.5, 3.5, 4.5]
