"""What is learned while running: how likely an answer is right here, and how much may be risked.

Probability: logistic regression over the features of the vote. The weights that ship are the prior; labels from this
namespace move them, the more the more there are. Risk: the lowest probability served is such that the expected
wrong answers
of the last requests stay within a share of the caller's bound.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

WINDOW: Final = 1500  # requests and labels remembered
EVERY: Final = 20  # labels between two fits
SPENT: Final = 0.55  # share of the bound that is planned for
NEWTON: Final = 4  # steps of a fit, which starts where the last one ended
DOUBTFUL: Final = 0.3  # probability from which a fresh answer is worth comparing
JUDGED: Final = 0.33  # share of the requests that are compared at most
HEAVIEST: Final = 20.0  # weight of one explored request at most
Floats = NDArray[np.float64]


class Calibration:
    """Logistic regression that starts from shipped weights and learns from each label.

    prior: mean and scale of each feature, the shipped weights (the first is the constant), their firmness in labels
    """

    def __init__(self, prior: Mapping[str, Any]) -> None:
        self._mean = np.asarray(prior["mean"], dtype=np.float64)
        self._scale = np.asarray(prior["scale"], dtype=np.float64)
        self._shipped = np.asarray(prior["weights"], dtype=np.float64)
        self._firm = np.full(len(self._shipped), float(prior["firmness"]))
        self._weights = self._shipped.copy()
        self._seen: deque[tuple[list[float], float, float]] = deque(maxlen=WINDOW)
        self._since = 0

    def probability(self, row: Sequence[float]) -> float:
        """Return how likely the winning answer is right."""
        return float(_sigmoid(self._weights @ self._line(row)))

    def learn(self, row: Sequence[float], right: bool, weight: float = 1.0) -> None:
        """Take in one label; every twentieth one refits, and a wrong one that weighs as much does at once."""
        self._seen.append((list(row), float(right), min(weight, HEAVIEST)))
        self._since += 1 if right else int(min(weight, HEAVIEST))
        if self._since >= EVERY:
            self.fit()

    def fit(self) -> None:
        """Move the weights to where the prior and the labels together want them (Newton's method)."""
        self._since = 0
        if not self._seen:
            return
        rows = (np.asarray([row for row, _, _ in self._seen]) - self._mean) / self._scale
        lines = np.concatenate((np.ones((len(rows), 1)), rows), axis=1)
        right = np.asarray([label for _, label, _ in self._seen])
        heavy = np.asarray([weight for _, _, weight in self._seen])

        def loss(weights: Floats) -> float:
            signs = np.where(right > 0, -1.0, 1.0) * (lines @ weights)
            drawn = self._firm @ (weights - self._shipped) ** 2 / 2
            return float(heavy @ np.logaddexp(0.0, signs) + drawn)

        weights, least = self._weights, loss(self._weights)
        for _ in range(NEWTON):
            chance = _sigmoid(lines @ weights)
            slope = lines.T @ (heavy * (right - chance)) - self._firm * (weights - self._shipped)
            bend = (lines * (heavy * chance * (1 - chance))[:, None]).T @ lines + np.diag(self._firm)
            step = np.linalg.solve(bend, slope)
            while (reached := loss(weights + step)) > least and np.abs(step).max() > 1e-6:
                step = step / 2  # far from the optimum a whole step overshoots
            weights, least = weights + step, min(reached, least)
        self._weights = weights

    def state(self) -> dict[str, Any]:
        """Return what was learned."""
        return {"weights": self._weights.tolist(), "seen": [list(one) for one in self._seen], "since": self._since}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from an earlier state; raises ValueError for one of other features."""
        weights = np.asarray(state["weights"], dtype=np.float64)
        if weights.shape != self._shipped.shape or {len(row) for row, _, _ in state["seen"]} - {len(self._mean)}:
            raise ValueError("it was learned of other features")
        self._weights = weights
        self._seen = deque(((list(row), label, weight) for row, label, weight in state["seen"]), maxlen=WINDOW)
        self._since = int(state["since"])

    def _line(self, row: Sequence[float]) -> Floats:
        return np.concatenate(([1.0], (np.asarray(row) - self._mean) / self._scale))


class Risk:
    """The last requests' probabilities, and the threshold that keeps a bound over them."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=WINDOW)

    def add(self, probability: float) -> None:
        """Note a request; 0 for one that could not have been served."""
        self._recent.append(probability)

    def threshold(self, max_error: float) -> float:
        """Return the lowest probability that may be served."""
        return self.limits(max_error)[0]

    def limits(self, max_error: float) -> tuple[float, float]:
        """Return the lowest probability that may be served, and the lowest worth a judge's call."""
        ordered = np.sort(np.asarray(self._recent))[::-1]
        within = np.cumsum(1 - ordered) <= SPENT * max_error * len(ordered)
        served = int(within.argmin()) if not within.all() else len(ordered)
        lowest = max(float(ordered[served - 1]) if served else 1.0, 0.6, 1 - 15 * max_error)
        last = int(np.count_nonzero(ordered >= lowest) + JUDGED * len(ordered))
        return lowest, max(float(ordered[last]) if last < len(ordered) else 0.0, DOUBTFUL)

    def state(self) -> list[float]:
        """Return the window."""
        return list(self._recent)

    def restore(self, state: Sequence[float]) -> None:
        """Go on from an earlier window."""
        self._recent = deque(state, maxlen=WINDOW)


def _sigmoid(value: Any) -> Any:
    return 1 / (1 + np.exp(-np.clip(value, -30, 30)))
