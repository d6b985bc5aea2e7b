"""The decision whether a kept answer serves a new question: one Meaning per namespace, numpy at run time.

    meaning = Meaning("vote", task="text")
    verdict = meaning.look(text, vector, max_error=0.01)
    if verdict.serve is not None:              # the id of the entry whose answer is to be given
        return answers[verdict.serve]
    fresh = ask_the_provider()
    same = None
    if verdict.judge is not None:              # the id of the entry the fresh answer is to be compared with
        same = judge(fresh, answers[verdict.judge])            # None when the judge could not tell
    kept = meaning.learn(verdict, entry_id, text, vector, same=same)          # text and code
    kept = meaning.learn(verdict, entry_id, text, vector, cluster=label)      # classification: no judge needed
    if kept is None: ...                       # the policy does not want the entry (vCache only)

Entries are put by learn(), or by add() when they come from elsewhere (a start, another worker, a warm-up); remove() forgets
one. The caller keeps answers, times to live and the order of eviction. state() is what the calibration learned, in JSON's
types; entries are not in it: add() them again with the cluster that learn() returned.
Not locked: the caller holds one lock per namespace around every method (look() on 10,000 entries takes about 1 ms).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What look() decided, and why; learn() wants it back."""

    serve: str | None  # the entry whose answer may be given
    probability: float  # that this answer would be right
    similarity: float  # cosine to the nearest entry
    reason: str  # served, cold, below threshold, explore, veto:<name>, gate:<name>
    judge: str | None = None  # the entry whose answer the fresh one is worth comparing with
    entry: str | None = None  # the best entry, served or not
    ticket: Any = None  # the policy's own notes on this look


class Index(Protocol):
    """Nearest entries by cosine; the one in memory is enough up to about 20,000 entries."""

    def add(self, entry: str, vector: Vector) -> None:
        """Put an entry, or replace its vector."""
        ...

    def remove(self, entry: str) -> None:
        """Forget an entry; an unknown one is no error."""
        ...

    def nearest(self, vector: Vector, count: int) -> Sequence[tuple[str, float]]:
        """Return up to `count` entries with their cosine, nearest first."""
        ...


class MeaningApi(Protocol):
    """What Meaning offers whoever serves answers."""

    def look(self, text: str, vector: Vector, max_error: float, now: float = 0.0) -> Verdict:
        """Decide one request."""
        ...

    def learn(
        self, verdict: Verdict, entry: str, text: str, vector: Vector,
        *, cluster: str | None = None, same: bool | None = None,
    ) -> str | None:  # fmt: skip
        """Learn from a fresh answer and put its entry; returns the entry's cluster, or None if it was not put."""
        ...

    def add(self, entry: str, text: str, vector: Vector, cluster: str) -> None:
        """Put an entry that is known from elsewhere."""
        ...

    def remove(self, entry: str) -> None:
        """Forget an entry."""
        ...

    def feedback(self, entry: str, good: bool) -> None:
        """Learn what a user said of an answer that was served from this entry."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what was learned, in JSON's types."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from an earlier state()."""
        ...
