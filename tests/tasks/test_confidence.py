"""How sure a model was of what it wrote."""

import math

import pytest

from llmapi.core.calls import Call, Completion, Target, TokenLogprobs
from llmapi.core.lifetime import Lifetime
from llmapi.tasks.confidence import answer_with_confidence, mean_probability

SURE = Target("openai", "gpt-4o-mini", frozenset({"logprobs"}))
SILENT = Target("gemini", "flash")


def tokens(*probabilities):
    return tuple(TokenLogprobs("x", math.log(each)) for each in probabilities)


@pytest.mark.parametrize(
    ("said", "confidence"),
    [
        (tokens(0.8, 0.8, 0.8), 0.8),
        (tokens(0.9, 0.4), 0.6),
        (tokens(1.0), 1.0),
        ((TokenLogprobs("x", 0.01),), 1.0),  # a vendor's rounding
        ((TokenLogprobs("x", -math.inf),), 0.0),
        ((TokenLogprobs("x", math.nan),), None),
        ((), None),
    ],
)
def test_confidence_is_the_geometric_mean_or_nothing(said, confidence):
    assert mean_probability(said) == (None if confidence is None else pytest.approx(confidence))


@pytest.mark.parametrize(("targets", "asked"), [((SURE,), 1), ((SILENT,), 0), ((SURE, SILENT), 0)])
def test_probabilities_are_asked_for_only_where_every_candidate_shows_them(targets, asked):
    seen = []

    def ask(call):
        seen.append(call.logprobs)
        return Completion("Fine.", finish="stop")

    call = Call("c", "t", "text", "m", targets, Lifetime(60.0))
    assert answer_with_confidence(ask, call)["confidence"] is None
    assert seen == [asked]
