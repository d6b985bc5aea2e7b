"""What tokens cost, from the price list that comes with genai-prices: nothing is looked up over the network."""

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from importlib.metadata import version
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from llmapi.core.calls import Target, Usage
from llmapi.core.clock import utc_now
from llmapi.core.errors import BadSetting
from llmapi.core.money import FREE, UNPRICED, Cost

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo

OURS: Final = frozenset({"local"})  # providers that are this machine
MOST_NAMES: Final = 1000  # remembered at once; names come from callers, so there must be an end
BATCH: Final = MappingProxyType({"processing": "batch"})  # as the list names it
NANOS_A_TOKEN: Final = Decimal(1000)  # a dollar a million tokens is a thousand nano-dollars a token


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices of one model in dollars a million tokens, and in dollars a thousand requests. None: nobody knows."""

    input: Decimal | None
    output: Decimal | None
    cached: Decimal | None = None  # None: as any other input
    reasoning: Decimal | None = None  # None: as any other output
    request: Decimal = Decimal(0)
    tier: int = 0  # tokens a prompt has more than, for these prices

    def cost(self, usage: Usage) -> Cost:
        """Return the price of some tokens to the nano-dollar, halves rounded up; unpriced if one kind has no price."""
        if (usage.input_tokens and self.input is None) or (usage.output_tokens and self.output is None):
            return UNPRICED
        given, said = self.input or Decimal(0), self.output or Decimal(0)
        cached = min(usage.cached_tokens, usage.input_tokens)
        thought = min(usage.reasoning_tokens, usage.output_tokens)
        total = (
            given * (usage.input_tokens - cached)
            + (given if self.cached is None else self.cached) * cached
            + said * (usage.output_tokens - thought)
            + (said if self.reasoning is None else self.reasoning) * thought
            + self.request * 1000
        )
        nanos = int((total * NANOS_A_TOKEN).to_integral_value(ROUND_HALF_UP))
        return Cost(nanos, "priced") if given or said or self.request else FREE

    def bound(self, most: Usage) -> Cost:
        """Return what so many tokens cost at most, whatever part of them is cached or reasoning."""
        given, said = most.input_tokens, most.output_tokens
        costs = [self.cost(Usage(given, said, cached, thought)) for cached in (0, given) for thought in (0, said)]
        return max(costs, key=lambda cost: -1 if cost.nanos is None else cost.nanos)

    def told(self, source: str, day: str) -> dict[str, Any]:
        """Return the prices as JSON values: dollars a million tokens, a thousand requests."""
        kinds = {"input": self.input, "output": self.output, "cached": self.cached, "reasoning": self.reasoning}
        known = {kind: format(price, "f") for kind, price in kinds.items() if price is not None}
        fee = {"request": format(self.request, "f")} if self.request else {}
        return {**known, **fee, **({"tier": self.tier} if self.tier else {}), "source": source, "date": day}


class GenaiPrices:
    """The Prices of the vendors' public lists; `overrides` ("provider/model" -> dollars a million tokens) come first.

    Names such as gemini-flash-latest are priced as the model the list says they stand for today. The local model is
    free; a model of which the list says nothing is unpriced, never free. The list (27 MB, 0.3 s to load) is loaded
    when the first paid call asks for it.
    """

    def __init__(
        self, overrides: Mapping[str, Mapping[str, float]] | None = None, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._overrides = {name: _override(name, rates) for name, rates in (overrides or {}).items()}
        self._models: dict[tuple[str, str], ModelInfo | None] = {}
        self._source = f"genai-prices {version('genai-prices')}"

    def cost(self, target: Target, usage: Usage) -> Cost:
        """Return what some tokens of a model cost; a list we cannot read makes it unpriced, and breaks nothing."""
        found = self._rates(target, usage.input_tokens)
        return found if isinstance(found, Cost) else found[0].cost(usage)

    def bound(self, target: Target, most: Usage) -> Cost:
        """Return what up to so many tokens of a model cost at most; unpriced if nobody knows."""
        found = self._rates(target, most.input_tokens)
        return found if isinstance(found, Cost) else found[0].bound(most)

    def batch_cost(self, target: Target, usage: Usage) -> Cost:
        """Return what some tokens would cost through the vendor's own batches; no other price if it has none."""
        found = self._rates(target, usage.input_tokens, BATCH)
        return found if isinstance(found, Cost) else found[0].cost(usage)

    def quote(self, target: Target, usage: Usage) -> dict[str, Any] | None:
        """Return the prices these tokens were charged at, for keeping (`Rates.told`); None where there are none."""
        found = self._rates(target, usage.input_tokens)
        if isinstance(found, Cost):
            return None
        return found[0].told(found[1], self._now().date().isoformat())

    def _rates(
        self, target: Target, input_tokens: int, processing: Mapping[str, str] | None = None
    ) -> tuple[Rates, str] | Cost:
        """Return the rates for a prompt of this length with their source, or the Cost that all tokens have."""
        if self._overrides:
            rates = self._overrides.get(f"{target.provider}/{target.model}")
            if rates is not None:
                return rates, "override"
        if target.provider in OURS:
            return FREE
        model = self._model(target)
        if model is None:
            return UNPRICED
        return _rates(vars(model.get_prices(self._now(), processing)), input_tokens), self._source

    def _model(self, target: Target) -> "ModelInfo | None":
        """Return the list's entry of a model, looked up once: it takes a tenth of a millisecond."""
        name = (target.provider, target.model)
        try:
            return self._models[name]
        except KeyError:
            pass
        from genai_prices.data_snapshot import get_snapshot

        try:
            found = get_snapshot().find_provider_model(target.model, None, target.provider, None)[1]
        except LookupError:
            found = None
        with self._lock:
            if len(self._models) >= MOST_NAMES:
                self._models.clear()
            self._models[name] = found
        return found


def _rates(prices: Mapping[str, Any], input_tokens: int) -> Rates:
    """Return the rates for a prompt of this length: some vendors ask more for long ones."""

    reached = 0

    def rate(kind: str) -> Decimal | None:
        nonlocal reached
        price: Any = prices.get(kind)
        for tier in reversed(getattr(price, "tiers", ())):
            if input_tokens > tier.start:
                reached = max(reached, tier.start)
                return Decimal(tier.price)
        price = getattr(price, "base", price)
        return None if price is None else Decimal(price)

    return Rates(
        rate("input_mtok"),
        rate("output_mtok"),
        rate("cache_read_mtok"),
        rate("output_reasoning_mtok"),
        (rate("requests_kcount") or Decimal(0)),
        reached,
    )


def _override(name: str, rates: Mapping[str, float]) -> Rates:
    known = {"input", "output", "cached"}
    if set(rates) - known or not {"input", "output"} <= set(rates):
        raise BadSetting(f"prices of {name}: give input and output (and cached) in dollars a million tokens")
    if not all(math.isfinite(price) and price >= 0 for price in rates.values()):
        raise BadSetting(f"prices of {name}: a price is a number from 0 up")
    exact = {kind: Decimal(str(price)) for kind, price in rates.items()}
    return Rates(exact["input"], exact["output"], exact.get("cached"))
