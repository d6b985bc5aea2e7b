"""What must agree before one answer may serve two questions."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmapi.cache import words
from llmapi.cache.freshness import cues
from llmapi.cache.readings import LONGEST, read
from llmapi.cache.vetoes import opposites, vetoed

REFUSED = [
    ("numbers", "Name 4 rivers in Peru", "Name 9 rivers in Peru"),
    ("numbers", "Name seven rivers in Peru", "Name 9 rivers in Peru"),
    ("numbers", "Upgrade from Laravel 9 to Laravel 11", "Upgrade from Laravel 10 to Laravel 11"),
    ("numbers", "What is new in Ubuntu 22.04?", "What is new in Ubuntu 24.04?"),
    ("numbers", "Round 3.14159 to 2 places", "Round 3.14159"),
    ("dates", "Trains to Lyon on Monday", "Trains to Lyon on Friday"),
    ("dates", "Weather in Oslo in October", "Weather in Oslo in April"),
    ("units", "How many calories are in a pound of rice?", "How many calories are in a kilogram of rice?"),
    ("quotes", 'Translate "good night" into Greek', 'Translate "good luck" into Greek'),
    ("quotes", "What does `ls -a` print?", "What does `ls -l` print?"),
    ("languages", "Write a Rust function that reverses a list", "Write a Kotlin function that reverses a list"),
    ("languages", "Reverse a list in C", "Reverse a list in C++"),
    ("formats", "List the planets as JSON", "List the planets as XML"),
    ("formats", "Compose a haiku about rain", "Compose a limerick about rain"),
    ("negation", "Which birds can fly?", "Which birds cannot fly?"),
    ("negation", "Recipes with nuts", "Recipes without nuts"),
]
SHARED = [
    ("Name five rivers in Peru", "List 5 Peruvian rivers"),
    ("Add 1,000 and 20", "What is 1000 plus 20?"),
    ("How do I sort a list in python3?", "python 3: sort a list"),
    ("It isn't cold, is it?", "It is not cold, is it?"),
    ("How do I become a person who is not unkind?", "How do I become a kind person?"),
    ("Which train runs on Sunday morning?", "trains on sunday morning"),
]


@pytest.mark.parametrize(("name", "a", "b"), REFUSED)
def test_what_differs_is_named_whichever_comes_first(name, a, b):
    assert (vetoed(a, b), vetoed(b, a)) == (name, name)


@pytest.mark.parametrize(("a", "b"), SHARED)
def test_other_words_for_the_same_pass(a, b):
    assert vetoed(a, b) is None


@pytest.mark.parametrize("sign", ["-", "“", "«", "'", "a-"])
def test_a_text_made_to_be_hard_is_read_as_quickly_as_any(sign):
    begun = time.thread_time()
    read(sign * LONGEST)
    cues(sign * LONGEST)
    assert time.thread_time() - begun < 0.1  # 0.6 where the end is looked for from each sign anew


def opposed(x, y):
    """Say of two words what opposites() counts of many."""
    if y in words.ANTONYMS.get(x, ()) or y != x and y in (x.replace("ful", "less"), x.replace("less", "ful")):
        return True
    return any(x == prefix + y or y == prefix + x for prefix in words.PREFIXES)


ROOTS = st.sampled_from("after before less more happy use useful useless port import unuse".split())
SIDES = st.sets(st.builds(str.__add__, st.sampled_from(["", "un", "im", "non"]), ROOTS))


@given(SIDES, SIDES)
def test_antonyms_are_counted_as_by_trying_every_pair(left, right):
    assert opposites(left - right, right - left) == sum(opposed(x, y) for x in left - right for y in right - left)


def test_both_words_of_every_listed_pair_know_each_other():
    assert opposites({"above"}, {"below"}) == opposites({"below"}, {"above"}) == 1
    assert opposites({"buy"}, {"below"}) == 0


def test_long_texts_are_not_compared_word_by_word():
    left, right = ({f"{side}{number}" for number in range(2000)} for side in ("unlike", "other"))
    begun = time.thread_time()
    assert opposites(left, right) == 0
    assert time.thread_time() - begun < 0.3  # of the four million pairs it would be seconds
