"""Small boosted trees over a pair's features: do the two questions ask the same?

Two sets of weights ship. "pairs" was trained on look-alikes picked to deceive (one word off, another number, roles
turned);
"neighbours" on what really stands near in a stream of requests. assets/verifier.json is written by
`python -m benchmarks.semcache train`.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from llmapi.cache.lexicon import ASSETS, english
from llmapi.cache.pair_features import features
from llmapi.cache.readings import Reading, read

Floats = NDArray[np.float64]
KINDS: Final = ("pairs", "neighbours")


class Trees:
    """Boosted trees of one depth, walked level by level for all rows and trees at once."""

    def __init__(self, base: float, columns: Sequence[Any], limits: Sequence[Any], leaves: Sequence[Any]) -> None:
        self._base = base
        self._columns = np.asarray(columns, dtype=np.int64)  # tree x inner node, breadth first
        self._limits = np.asarray(limits, dtype=np.float64)
        self._leaves = np.asarray(leaves, dtype=np.float64)

    def raw(self, rows: Floats) -> Floats:
        """Return one log-odds per row."""
        trees = np.arange(len(self._columns))[None, :]
        lines = np.arange(len(rows))[:, None]
        node = np.zeros((len(rows), len(self._columns)), dtype=np.int64)
        inner = self._columns.shape[1]
        while inner > 0:
            right = rows[lines, self._columns[trees, node]] >= self._limits[trees, node]
            node = 2 * node + 1 + right
            inner //= 2
        leaf = node - self._columns.shape[1]
        return np.asarray(self._base + self._leaves[trees, leaf].sum(axis=1))


class Verifier:
    """Scores pairs with both sets of weights; stateless."""

    def __init__(self, weights: Mapping[str, Any]) -> None:
        self._trees = [Trees(**weights[kind]) for kind in KINDS]
        self._lexicon = english()

    def scores(self, question: Reading, others: Sequence[Reading], cosines: Sequence[float]) -> Floats:
        """Return log-odds, one column per kind, one row per other text."""
        rows = [features(question, other, cosine, self._lexicon) for other, cosine in zip(others, cosines, strict=True)]
        return np.stack([trees.raw(np.asarray(rows)) for trees in self._trees], axis=1)

    def probability(self, a: str, b: str, cosine: float) -> float:
        """Return how likely one answer serves both texts, by the weights for look-alikes."""
        return float(1 / (1 + np.exp(-self.scores(read(a), [read(b)], [cosine])[0, 0])))


@cache
def shipped() -> Verifier:
    """Return the verifier with the weights that ship, loaded once."""
    return Verifier(json.loads((ASSETS / "verifier.json").read_text(encoding="utf-8")))
