"""What a call would take, without making it: the answer to `dry_run`."""

from typing import Any

from llmapi.cache.keys import cache_key
from llmapi.core.calls import Call, Usage
from llmapi.core.contracts import AnswerCache, Prices
from llmapi.core.money import FREE, UNPRICED, Cost
from llmapi.costs.tokens import bounded_input, bounded_output, estimated_input
from llmapi.gateway.caching import fresh_answer


class Preview:
    """Say what one answer to a call takes at most; asks no model and changes nothing."""

    def __init__(self, cache: AnswerCache, prices: Prices) -> None:
        self._cache = cache
        self._prices = prices

    def __call__(self, call: Call) -> dict[str, Any]:
        """Return tokens (estimate and bounds), the cost at most (a Cost), and whether the cache would answer."""
        most = Usage(bounded_input(call), bounded_output(call))
        return {
            "input_tokens": estimated_input(call),
            "input_tokens_bound": most.input_tokens,
            "output_tokens_bound": most.output_tokens,
            "cost_bound": self._dearest(call, most),
            "would_hit": self._would_hit(call),
        }

    def _dearest(self, call: Call, most: Usage) -> Cost:
        """Return the cost at the dearest candidate; unpriced when one of them is, for it might be the one."""
        costs = [self._prices.cost(target, most) for target in call.targets]
        if any(cost.nanos is None for cost in costs):
            return UNPRICED
        return max(costs, key=lambda cost: (cost.nanos or 0, cost.status == "priced"), default=FREE)

    def _would_hit(self, call: Call) -> bool:
        if call.cache.mode in ("bypass", "refresh"):
            return False
        return fresh_answer(self._cache, cache_key(call), call.cache) is not None
