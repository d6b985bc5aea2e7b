"""Counters of every kind for tests: opened as the service opens them, by a URL."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limits.storage import storage_from_string

from llmapi.db.counting import counters_at
from llmapi.db.sliding import Charge, Sliding

KINDS = ("memory", "file", "redis", "postgresql")
NOON = 1_800_000_000.0


class Clock:
    """A clock that stands still."""

    now = NOON

    def __call__(self) -> float:
        return self.now


@dataclass
class Place:
    """Where hits are counted; `open` may be called in any process."""

    kind: str
    url: str
    folder: Path
    opened: list[Any] = field(default_factory=list)

    def open(self, clock: Callable[[], float] | None = None, **more: Any) -> Sliding:
        given = {"clock": clock, **more} if clock else more
        found = storage_from_string(counters_at(self.url, folder=self.folder), **given)
        assert isinstance(found, Sliding)
        self.opened.append(found)
        return found

    def close(self) -> None:
        for each in self.opened:
            each.close()


def charge(limit: int, span: float = 60.0, key: str = "k") -> Charge:
    return Charge(key, limit, span)
