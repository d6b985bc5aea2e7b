"""Which questions must not get the answer to another one; none of these sentences is in the training data."""

import pytest

from llmapi.cache.freshness import LONGEST, gate

BYPASSED = [
    "What's the weather in Lisbon right now?",
    "Bitcoin price today",
    "What is the latest version of Node.js?",
    "Who is the president of France?",
    "Are there delays on the subway this evening?",
    "Where is my order?",
    "Cancel my appointment on Tuesday",
    "How many vacation days do I have?",
    "What was my last invoice?",
    "And the second one?",
    "Make it shorter",
    "Now in Spanish",
    "Give me a random number between 1 and 10",
    "Tell me another joke",
    "Roll two dice",
]
KEPT = [
    "How do I get the current time in Python?",
    "What is the capital of Peru?",
    "Explain how vaccines work",
    "What is the difference between TCP and UDP?",
    "How do I generate a random number in Java?",
    'Translate "where is my order" into French',
    "Who wrote Don Quixote?",
    "How does inflation work?",
    "Write a function that returns tomorrow's date in JavaScript",
    "What does the word current mean in physics?",
]


@pytest.mark.parametrize("text", BYPASSED)
def test_what_changes_or_depends_on_the_asker_is_held_back(text):
    assert gate(text) in ("volatile", "personal", "context", "random")


@pytest.mark.parametrize("text", KEPT)
def test_what_stays_the_same_for_everyone_passes(text):
    assert gate(text) is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("What's the weather in Lisbon right now?", "volatile"),
        ("Where is my order?", "personal"),
        ("And the second one?", "context"),
        ("Tell me another joke", "random"),
    ],
)
def test_the_reason_is_named(text, kind):
    assert gate(text) == kind


def test_a_long_text_is_judged_by_its_beginning():
    assert gate("Explain how vaccines work. " + "x" * LONGEST + " right now today my order") is None
