"""What every way of deciding has in common: it sees the nearest entries and says serve or ask."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from llmapi.cache.votes import Clusters, Near

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Choice:
    """What a policy decided about one request."""

    position: int  # in Near, of the entry it is about
    probability: float
    serve: bool
    reason: str  # served, below threshold, explore, cold
    judge: bool  # whether comparing the fresh answer with this entry's teaches something
    ticket: Any = None  # in JSON's types; learn() wants it back


class Policy(Protocol):
    """Decides from the neighbourhood and learns from fresh answers."""

    verified: bool  # whether Near.scores has to be filled

    def decide(self, near: Near, vector: Vector, clusters: Clusters, max_error: float) -> Choice:
        """Decide one request; `near` holds at least one entry."""
        ...

    def learn(self, ticket: Any, same: bool) -> bool:
        """Take in whether the fresh answer equalled the entry's; returns whether the fresh one is worth an entry."""
        ...

    def feedback(self, ticket: Any, good: bool) -> None:
        """Take in what a user said of a served answer."""
        ...

    def forget(self, entry: str) -> None:
        """Forget an entry."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what was learned, in JSON's types."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from an earlier state."""
        ...
