"""How one of several candidates is chosen to answer a call, and which failures lead to the next one."""

from dataclasses import dataclass
from typing import Literal

Balance = Literal["ordered", "weighted", "round_robin", "least_in_flight", "lowest_latency"]
Failure = Literal["unavailable", "throttled", "timeout", "invalid", "context", "blocked"]

# What another provider may do better without the answer being another one than was asked for. A prompt too long or
# blocked goes to a different model only where a route says so.
USUAL_FALLBACK: frozenset[Failure] = frozenset({"unavailable", "throttled", "timeout", "invalid"})


@dataclass(frozen=True, slots=True)
class Policy:
    """A route's rules. `weights` has one number for each candidate; empty: all weigh the same."""

    name: str = ""  # of the route
    balance: Balance = "ordered"
    weights: tuple[float, ...] = ()
    fallback: frozenset[Failure] = USUAL_FALLBACK
    ask_in_doubt: bool = False  # ask again after a read timeout too, though the first asking may be paid for
    attempt_timeout: float | None = None  # seconds one asking gets to its first chunk; None: all the call has left


ORDERED = Policy()
