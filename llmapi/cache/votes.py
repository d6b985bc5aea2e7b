"""The vote: the answers of the ten nearest entries, summed up in the features one decision is made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS: Final = 10
NAMES: Final = (
    "share_wide", "share", "share_narrow", "share_verified", "best", "near", "ahead", "neighbour",
    "neighbour_ahead", "pair",
    "winners", "losers", "centre", "centre_ahead", "size", "centre_usual", "single",
)  # fmt: skip
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Near:
    """What stands nearest to a question, nearest first."""

    entries: Sequence[str]
    cosines: Floats
    clusters: Sequence[str]  # of each entry: which answer it has
    scores: Floats  # the verifier's log-odds: for look-alikes, for neighbours


class Clusters:
    """Which answers entries have, with the middle of each answer's questions."""

    def __init__(self) -> None:
        self._of: dict[str, str] = {}
        self._sums: dict[str, NDArray[np.float32]] = {}
        self._sizes: dict[str, int] = {}

    def of(self, entry: str) -> str:
        """Return the cluster of an entry."""
        return self._of[entry]

    def put(self, entry: str, vector: NDArray[np.float32], cluster: str) -> None:
        """Note that an entry has a cluster's answer."""
        self._of[entry] = cluster
        self._sizes[cluster] = self._sizes.get(cluster, 0) + 1
        self._sums[cluster] = self._sums[cluster] + vector if cluster in self._sums else vector.copy()

    def drop(self, entry: str, vector: NDArray[np.float32]) -> None:
        """Forget an entry, and its cluster with the last one."""
        cluster = self._of.pop(entry)
        self._sizes[cluster] -= 1
        if self._sizes[cluster]:
            self._sums[cluster] = self._sums[cluster] - vector
        else:
            del self._sizes[cluster], self._sums[cluster]

    def standing(self, cluster: str, vector: NDArray[np.float32]) -> tuple[float, float, int]:
        """Return the cosine to the cluster's middle, what its own entries have on average, and how many it has."""
        total, size = self._sums[cluster], self._sizes[cluster]
        length = float(np.sqrt(total @ total)) + 1e-9
        return float(vector @ total) / length, length / size if size > 1 else 0.75, size


@dataclass(frozen=True, slots=True)
class Vote:
    """The winning answer and the features of the win."""

    winner: int  # position in Near of the entry to serve
    row: list[float]


def vote(near: Near, vector: NDArray[np.float32], clusters: Clusters) -> Vote:
    """Let the neighbours vote; log-odds are cut at 6."""
    names, inverse = np.unique(np.asarray(near.clusters), return_inverse=True)
    cosines = near.cosines
    trust = 1 / (1 + np.exp(-near.scores[:, 1])) + 0.02
    middling = np.exp(14 * (cosines - 1))
    wide = _shares(np.exp(8 * (cosines - 1)), 0.1, inverse, len(names))
    share = _shares(middling, 0.03, inverse, len(names))
    narrow = _shares(np.exp(22 * (cosines - 1)), 0.01, inverse, len(names))
    verified = _shares(middling * trust, 0.01, inverse, len(names))
    won = int((share + verified).argmax())
    mine = inverse == won
    standings = {name: clusters.standing(str(name), vector) for name in names}
    row = [float(wide[won]), float(share[won]), float(narrow[won]), float(verified[won])]
    row += _best(near, mine) + [mine.sum() / 10, (~mine).sum() / 10] + _middle(standings, names[won])
    return Vote(int(np.flatnonzero(mine)[0]), [float(value) for value in row])


def _shares(weights: Floats, nobody: float, inverse: NDArray[np.intp], count: int) -> Floats:
    """Return each cluster's share of the votes; `nobody` is the weight of an answer not seen yet."""
    sums = np.bincount(inverse, weights, count)
    return np.asarray(sums / (sums.sum() + nobody))


def _best(near: Near, mine: NDArray[np.bool_]) -> list[float]:
    best = float(near.cosines[mine].max())
    other = float(near.cosines[~mine].max()) if not mine.all() else 0.0
    score = float(np.clip(near.scores[mine, 1].max(), -6, 6))
    rival = float(np.clip(near.scores[~mine, 1].max(), -6, 6)) if not mine.all() else -6.0
    pair = float(np.clip(near.scores[np.flatnonzero(mine)[0], 0], -6, 6))
    return [best, max(best - 0.8, 0.0) * 5, best - other, score, score - rival, pair]


def _middle(standings: dict[Any, tuple[float, float, int]], won: Any) -> list[float]:
    centre, usual, size = standings[won]
    rival = max((found[0] for name, found in standings.items() if name != won), default=0.0)
    return [centre, centre - rival, min(np.log1p(size), 3.5) / 3.5, centre - usual, float(size == 1)]
