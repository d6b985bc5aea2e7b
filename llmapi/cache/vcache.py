"""vCache: a threshold for each entry, learned from what was near it, with a bound on the error of each decision.

source: vCache, Verified Semantic Prompt Caching, arXiv 2502.03771, from the paper's description alone.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from llmapi.cache.policies import Choice, Vector
from llmapi.cache.votes import Clusters, Near

ENOUGH: Final = 6  # observations, the two virtual ones included
LONGEST: Final = 200  # observations kept per entry
_LEVELS: Final = np.linspace(0.0, 1.0, 52)[1:-1]
_MARGINS: Final = np.asarray([NormalDist().inv_cdf(1 - level) for level in _LEVELS])
Seen = Sequence[tuple[float, float]]


class VCache:
    """Explores with the probability the nearest entry's own observations ask for."""

    verified = False

    def __init__(self, seed: int = 0) -> None:
        self._seen: dict[str, list[tuple[float, float]]] = {}
        self._dice = np.random.default_rng(seed)

    def decide(self, near: Near, vector: Vector, clusters: Clusters, max_error: float) -> Choice:
        """Serve the nearest entry, or explore it."""
        entry, cosine = near.entries[0], round(float(near.cosines[0]), 3)
        ticket = [entry, cosine]
        seen = self._seen.get(entry, [])
        if len(seen) + 2 < ENOUGH:
            return Choice(0, 0.0, False, "cold", judge=True, ticket=ticket)
        explore = exploration(seen, cosine, max_error)
        if self._dice.random() <= explore:
            return Choice(0, 1 - explore, False, "explore", judge=True, ticket=ticket)
        return Choice(0, 1 - explore * max_error, True, "served", judge=False, ticket=ticket)

    def learn(self, ticket: Any, same: bool) -> bool:
        """Note the observation; only an answer that differs is worth an entry."""
        self._note(ticket, same)
        return not same

    def feedback(self, ticket: Any, good: bool) -> None:
        """Note it like an observation."""
        self._note(ticket, good)

    def forget(self, entry: str) -> None:
        """Forget an entry's observations."""
        self._seen.pop(entry, None)

    def state(self) -> dict[str, Any]:
        """Return the observations."""
        return {"seen": {entry: [list(one) for one in seen] for entry, seen in self._seen.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from earlier observations."""
        self._seen = {entry: [(s, c) for s, c in seen] for entry, seen in state["seen"].items()}

    def _note(self, ticket: Any, right: bool) -> None:
        seen = self._seen.setdefault(ticket[0], [])
        seen.append((ticket[1], float(right)))
        del seen[:-LONGEST]


def exploration(seen: Seen, cosine: float, max_error: float) -> float:
    """Return how likely the entry must be explored so that a served answer is wrong at most `max_error` of the time."""
    rows = np.asarray([(0.0, 0.0), (1.0, 1.0), *seen])
    slope, threshold, variance = _fit(rows)
    pessimistic = np.minimum(1.0, threshold + _MARGINS * math.sqrt(variance))
    right = (1 - _LEVELS) / (1 + np.exp(-np.clip(slope * (cosine - pessimistic), -60, 60)))
    return float(np.min(1 - max_error / np.maximum(1 - right, 1e-12)))


def _fit(rows: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return slope, threshold and the threshold's variance of a logistic regression without penalty."""
    cosines, right = rows[:, 0], rows[:, 1]
    highest_wrong, lowest_right = cosines[right == 0].max(), cosines[right == 1].min()
    if highest_wrong < lowest_right:  # separable: the slope has no end, the middle is as good as any
        return 200.0, float((highest_wrong + lowest_right) / 2), max(0.008, 0.2 / len(rows))
    lines = np.stack([np.ones(len(rows)), cosines], axis=1)
    weights = np.zeros(2)
    for _ in range(25):
        chance = 1 / (1 + np.exp(-np.clip(lines @ weights, -30, 30)))
        bend = (lines * (chance * (1 - chance) + 1e-9)[:, None]).T @ lines + 1e-9 * np.eye(2)
        step = np.linalg.solve(bend, lines.T @ (right - chance))
        weights = weights + np.clip(step, -20, 20)
        if np.abs(step).max() < 1e-6:
            break
    constant, slope = float(weights[0]), float(weights[1])
    if abs(slope) < 1e-6:
        return slope, 1.0, 1.0
    slopes = np.asarray([-1 / slope, constant / slope**2])
    return slope, float(np.clip(-constant / slope, 0, 1)), float(max(slopes @ np.linalg.inv(bend) @ slopes, 1e-9))
