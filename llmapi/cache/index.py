"""Nearest kept questions by cosine: the contract, and the index in memory, which outgrows one engine for the next."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from llmapi.cache.index_numpy import Rows

if TYPE_CHECKING:
    from llmapi.cache.index_usearch import Graph

Vector = NDArray[np.float32]
LARGE: Final = 20_000  # entries from which a graph is quicker than looking at every row
STEP: Final = 32  # entries moved into the graph with each change: no call pays for all


class Index(Protocol):
    """Vectors of length 1 by name. Not locked: who owns it holds a lock."""

    def add(self, entry: str, vector: Vector) -> None:
        """Put an entry, or replace its vector."""
        ...

    def remove(self, entry: str) -> None:
        """Forget an entry; an unknown one is no error."""
        ...

    def nearest(self, vector: Vector, count: int) -> Sequence[tuple[str, float]]:
        """Return up to `count` entries with their cosine, nearest first."""
        ...


class Found(NamedTuple):
    """An entry of a shared index, and what was put with it."""

    entry: str
    cosine: float
    payload: bytes


class SharedIndex(Protocol):
    """Entries of all workers, by namespace, on a server. Safe for threads; raises LlmApiError while it is away."""

    def add(self, space: str, entry: str, vector: Vector, payload: bytes, ttl: float) -> None:
        """Put an entry for `ttl` seconds."""
        ...

    def remove(self, space: str, entry: str) -> bool:
        """Forget an entry; returns whether it was there."""
        ...

    def nearest(self, space: str, vector: Vector, count: int) -> list[Found]:
        """Return up to `count` entries that are not over, nearest first."""
        ...

    def close(self) -> None:
        """Give the connections back."""
        ...


class Growing:
    """Rows while there are few entries, a graph beyond; the move is made in small steps, both being searched.

    large: entries from which on the graph is used; it needs the package usearch, without it all stay in rows
    """

    def __init__(self, large: int = LARGE) -> None:
        self._large = large
        self._rows = Rows()
        self._graph: Graph | None = None

    @property
    def sizes(self) -> tuple[int, int]:
        """Return how many entries are in rows, and how many in the graph."""
        return len(self._rows), 0 if self._graph is None else len(self._graph)

    def add(self, entry: str, vector: Vector) -> None:
        """Put an entry, or replace its vector."""
        self.remove(entry)
        if self._graph is None and len(self._rows) >= self._large:
            self._graph = _graph(len(vector))
        if self._graph is None:
            self._rows.add(entry, vector)
            return
        self._graph.add(entry, vector)
        for moved, known in self._rows.take(STEP):
            self._graph.add(moved, known)

    def remove(self, entry: str) -> None:
        """Forget an entry; an unknown one is no error."""
        self._rows.remove(entry)
        if self._graph is not None:
            self._graph.remove(entry)

    def nearest(self, vector: Vector, count: int) -> Sequence[tuple[str, float]]:
        """Return up to `count` entries with their cosine, nearest first."""
        found = self._rows.nearest(vector, count)
        if self._graph is None:
            return found
        both = [*found, *self._graph.nearest(vector, count)]
        return sorted(both, key=lambda each: -each[1])[:count]


def _graph(dimensions: int) -> "Graph | None":
    try:
        from llmapi.cache.index_usearch import Graph
    except ImportError:
        return None
    return Graph(dimensions)
