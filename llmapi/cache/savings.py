"""What kept answers saved, from sums of calls: their price comes with them, their time is told by the misses."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

KINDS: Final[Mapping[str, str]] = MappingProxyType(  # as the ledger calls them, as they are told
    {"hit": "exact", "semantic": "semantic", "coalesced": "coalesced", "miss": "miss", "bypass": "bypass"}
)
ASKED: Final = frozenset({"miss", "bypass"})  # somebody was asked for these


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of one model for one task that the cache treated alike; money in nano-dollars, time in seconds."""

    cache: str
    task: str
    provider: str
    model: str
    requests: int
    failures: int = 0
    saved: int = 0
    duration: float = 0.0  # of all of them together


@dataclass(frozen=True, slots=True)
class Savings:
    """How often the cache answered, and what that saved."""

    by_kind: Mapping[str, int]
    money: int  # nano-dollars
    seconds: float

    @property
    def share(self) -> float | None:
        """Return the share of answers nobody was asked for, among calls that might have had one; None: no calls."""
        might = sum(count for kind, count in self.by_kind.items() if kind != "bypass")
        return (might - self.by_kind["miss"]) / might if might else None


def savings_of(calls: Iterable[Calls]) -> Savings:
    """Return what these calls saved.

    seconds: for each task and model what its asked calls took on average, less what its kept answers took; 0 where
    nobody was asked, for then nobody knows
    """
    every = list(calls)
    counts = dict.fromkeys(KINDS.values(), 0)
    asked: dict[tuple[str, str, str], list[float]] = defaultdict(lambda: [0, 0.0])
    for each in every:
        counts[KINDS[each.cache]] += each.requests
        if each.cache in ASKED and each.requests > each.failures:
            usual = asked[each.task, each.provider, each.model]
            usual[0] += each.requests
            usual[1] += each.duration
    return Savings(counts, sum(each.saved for each in every), sum(_seconds(each, asked) for each in every))


def _seconds(each: Calls, asked: Mapping[tuple[str, str, str], list[float]]) -> float:
    """Return the seconds these calls saved, never less than none."""
    count, took = asked.get((each.task, each.provider, each.model), (0, 0.0))
    if each.cache in ASKED or not count:
        return 0.0
    return max(0.0, took / count * each.requests - each.duration)
