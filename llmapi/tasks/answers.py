"""The envelope every task's answer comes in: ARCHITECTURE's contract, JSON-ready."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from llmapi.core.calls import Attempt, Facts, Usage
from llmapi.core.clock import rfc3339
from llmapi.core.events import KEPT
from llmapi.core.money import Cost, dollars
from llmapi.tasks.tab import Tab

Json = dict[str, Any]


def answer_of(
    task: str, output: Mapping[str, Any] | None, tab: Tab, *, call_id: str, seconds: float, created: datetime
) -> Json:
    """Return the answer of a task; `seconds` is what it took in all."""
    last = tab.facts[-1] if tab.facts else Facts()
    waited = min(seconds, sum(facts.provider_time for facts in tab.facts))
    return {
        "id": call_id,
        "task": task,
        "model": last.model,
        "provider": last.provider,
        "output": output,
        "usage": usage_of(tab.usage),
        "cost": cost_of(tab.cost),
        "cache": cache_of(tab.facts),
        "attempts": [attempt_of(each) for facts in tab.facts for each in facts.attempts],
        "timing": {
            "total_ms": milliseconds(seconds),
            "provider_ms": milliseconds(waited),
            "overhead_ms": milliseconds(seconds - waited),
        },
        "created": rfc3339(created),
    }


def attempt_of(attempt: Attempt) -> Json:
    """Return one try at a provider."""
    return {
        "provider": attempt.provider,
        "model": attempt.model,
        "status": attempt.status,
        "wait_ms": milliseconds(attempt.wait),
    }


def usage_of(usage: Usage) -> Json:
    """Return token counts under the contract's names."""
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "total_tokens": usage.total_tokens,
    }


def cost_of(cost: Cost) -> Json:
    """Return a cost in dollars; the amount is null when nobody knows the price."""
    amount = None if cost.nanos is None else dollars(cost.nanos)
    return {"amount": amount, "currency": "USD", "status": cost.status}


def cache_of(facts: Sequence[Facts]) -> Json:
    """Return the cache's part: an answer made of several calls counts as kept only if each of them was."""
    asked = [each for each in facts if each.cache not in KEPT]
    meant = [each for each in facts if each.cache == "semantic"]
    shown = (asked or meant or list(facts) or [Facts()])[0]
    ages = [each.age for each in facts if each.age is not None]
    age = max(ages) if ages and not asked else None
    told: Json = {"status": shown.cache, "age_s": rounded(age, 3), "similarity": rounded(shown.similarity, 4)}
    late = min((each.ttl for each in facts if each.ttl is not None), default=0.0)
    if late < 0 and not asked:
        told |= {"stale": True, "ttl_s": rounded(late, 3)}
    if shown.reason:  # asked for by meaning
        told |= {"probability": rounded(shown.probability, 4), "entry": shown.kept or None, "reason": shown.reason}
    return told


def rounded(value: float | None, digits: int) -> float | None:
    """Return a number rounded, or None."""
    return None if value is None else round(value, digits)


def milliseconds(seconds: float) -> float:
    """Return seconds as milliseconds, to a microsecond."""
    return round(seconds * 1000, 3)
