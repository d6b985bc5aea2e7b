"""What a call costs the operator, and what it saved: a kept or shared answer costs nothing."""

from typing import Final

from llmapi.core.calls import NOTHING, Target, Usage
from llmapi.core.contracts import Prices
from llmapi.core.events import KEPT, CallFinished

OWN_KEY: Final = "own_key"  # the caller's own key paid: the vendor charges the caller


def pricing_of(event: CallFinished) -> tuple[str, int | None]:
    """Return how a call is priced and its cost to the operator in nano-dollars, as the ledger has them."""
    if event.own_key and event.cache not in KEPT:
        return OWN_KEY, 0
    return event.cost.status, event.cost.nanos


def saved_by(event: CallFinished, prices: Prices) -> int:
    """Return what a kept or shared answer would have cost in nano-dollars; 0 where nobody knows, or it is free."""
    if event.cache not in KEPT or event.own_key or event.usage == NOTHING:
        return 0
    return prices.cost(Target(event.provider, event.model), event.usage).nanos or 0


def counted(event: CallFinished) -> Usage:
    """Return the tokens a ledger row tells: those providers are paid for; of a kept answer those it would have had."""
    return event.usage if event.cache in KEPT else event.billed
