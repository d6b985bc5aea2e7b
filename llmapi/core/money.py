"""Money is an int of nano-dollars (1e-9 USD): a token of a cheap model costs less than a micro-dollar."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

NANOS_A_DOLLAR = 1_000_000_000

Pricing = Literal["priced", "free", "unpriced"]


def dollars(nanos: int) -> str:
    """Return nano-dollars as a decimal string in USD without exponent or trailing zeros, e.g. "0.000125"."""
    if not nanos:
        return "0"
    text = f"{Decimal(nanos).scaleb(-9):.9f}"
    return text.rstrip("0").rstrip(".")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call cost. `nanos` is None exactly when nobody knows the price: no price is never zero."""

    nanos: int | None
    status: Pricing

    def __add__(self, other: "Cost") -> "Cost":
        if self.nanos is None or other.nanos is None:
            return UNPRICED
        status: Pricing = "priced" if "priced" in (self.status, other.status) else "free"
        return Cost(self.nanos + other.nanos, status)


FREE = Cost(0, "free")
UNPRICED = Cost(None, "unpriced")
