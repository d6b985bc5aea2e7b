"""How sure a model was of the words it wrote: from the probabilities it shows, or not at all."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llmapi.core.calls import Call, TokenLogprobs
from llmapi.tasks.asking import Ask
from llmapi.tasks.text import read_text


def answer_with_confidence(ask: Ask, call: Call) -> dict[str, Any]:
    """Return the text and `confidence`, None where a candidate shows no probabilities: it might be the one asked."""
    if all(target.can("logprobs") for target in call.targets):
        call = replace(call, logprobs=1)
    answer = ask(call)
    return {**read_text(answer, call.schema), "confidence": mean_probability(answer.logprobs)}


def mean_probability(tokens: Sequence[TokenLogprobs]) -> float | None:
    """Return the geometric mean probability of an answer's tokens, 0 to 1; None when there is none to read.

    It is the inverse of the perplexity, so long and short answers compare.
    """
    logs = [min(token.logprob, 0.0) for token in tokens]
    if not logs or any(map(math.isnan, logs)):
        return None
    return round(math.exp(math.fsum(logs) / len(logs)), 6)
