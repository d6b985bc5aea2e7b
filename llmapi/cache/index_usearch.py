"""The index for many entries: usearch's graph (HNSW) of 16-bit floats; a look takes 0.4 ms at 100,000 entries."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime  # noqa: F401  before usearch: loaded after it, it ends the process (SIGSEGV)
from numpy.typing import NDArray
from usearch.index import Index as HNSW

Vector = NDArray[np.float32]


class Graph:
    """Nearest entries with a recall of about 1; memory of removed entries is used again."""

    def __init__(self, dimensions: int) -> None:
        self._graph: Any = HNSW(
            ndim=dimensions, metric="cos", dtype="f16", connectivity=16, expansion_add=128, expansion_search=64
        )
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, entry: str, vector: Vector) -> None:
        """Put an entry, or replace its vector."""
        self.remove(entry)
        number, self._next = self._next, self._next + 1
        self._numbers[entry], self._names[number] = number, entry
        self._graph.add(number, vector, threads=1)

    def remove(self, entry: str) -> None:
        """Forget an entry; an unknown one is no error."""
        if (number := self._numbers.pop(entry, None)) is not None:
            del self._names[number]
            self._graph.remove(number)

    def nearest(self, vector: Vector, count: int) -> Sequence[tuple[str, float]]:
        """Return up to `count` entries with their cosine, nearest first."""
        if not self._numbers:
            return []
        found = self._graph.search(vector, min(count, len(self._numbers)), threads=1)
        pairs = zip(found.keys.tolist(), found.distances.tolist(), strict=True)
        return [(self._names[number], 1.0 - distance) for number, distance in pairs if number in self._names]
