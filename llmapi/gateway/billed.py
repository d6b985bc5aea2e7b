"""What a call has cost: its answer, and the attempts that failed before it, each at the price of its own model."""

from collections.abc import Sequence

from llmapi.core.calls import NOTHING, Attempt, Facts, Target, Usage
from llmapi.core.contracts import Prices
from llmapi.core.events import KEPT
from llmapi.core.money import FREE, UNPRICED, Cost


def cost_of_answer(prices: Prices, facts: Facts, usage: Usage) -> Cost:
    """Return the cost of an answer with all that failed before it; what was kept costs nothing."""
    if facts.cache in KEPT:
        return FREE
    cost = prices.cost(Target(facts.provider, facts.model), usage)
    if usage == NOTHING and cost.status == "priced":
        cost = UNPRICED  # it cost something, but nobody counted the tokens (a stream left before its end)
    return cost + cost_of_attempts(prices, facts.attempts)


def cost_of_attempts(prices: Prices, attempts: Sequence[Attempt]) -> Cost:
    """Return what failed attempts were billed."""
    billed = [attempt for attempt in attempts if attempt.usage != NOTHING]
    return sum((prices.cost(Target(each.provider, each.model), each.usage) for each in billed), FREE)
