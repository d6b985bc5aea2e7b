"""One stream's events as they were sent, in memory while it runs: what the database has already may leave from here."""

import threading
from dataclasses import dataclass
from typing import Literal

from llmapi.core.lifetime import Lifetime

Outcome = Literal["done", "failed", "cut", "full"]
ROOM = 4 * 1_048_576  # bytes of a stream that are kept at most
EVENT = 64  # bytes an event counts beside its own
NEAR = 64 * 1024  # bytes that stay in memory though they are stored


@dataclass(frozen=True, slots=True)
class Unstored:
    """Events that are not in the database yet. `outcome` is set when there will be no more."""

    first: int
    frames: list[bytes]
    outcome: Outcome | None
    size: int


class Recording:
    """The events of a running stream: one thread appends, any number of threads read.

    Each event's bytes end with an empty line and have none inside, as server-sent events do. Outcomes: `done`, `failed`
    (its last event tells why), `cut` (without a last word), `full` (the rest was not kept).

    finish: whether it goes on when nobody reads it any more; else its life ends with the last reader
    """

    def __init__(self, tenant: str, lifetime: Lifetime, *, finish: bool = False, room: int = ROOM) -> None:
        self.id, self.tenant = "", tenant  # the log gives it an id once it is a stream for certain
        self.outcome: Outcome | None = None
        self._lifetime, self._finish, self._room, self._left = lifetime, finish, room, room
        self._news = threading.Condition()
        self._frames: list[bytes] = []
        self._gone = 0  # events that left from here
        self._stored = 0
        self._full = False
        self._waiting = 0
        self._readers = 1

    def append(self, frame: bytes) -> None:
        """Keep what was sent, while there is room. On the way of each chunk: no lock unless somebody waits."""
        if (left := self._left - len(frame) - EVENT) < 0 or self._full:
            self._full = True
            return
        self._left = left
        self._frames.append(frame)
        if self._waiting:
            self._wake()

    def end(self, outcome: Outcome) -> None:
        """Say how it ended; only the first time counts."""
        if self.outcome is None:
            self.outcome = "full" if self._full else outcome
            self._wake()

    def since(self, number: int) -> list[bytes] | None:
        """Return the events from a number on; None when the first of them is in the database only."""
        with self._news:
            return None if number < self._gone else self._frames[number - self._gone :]

    def wait(self, number: int, seconds: float) -> None:
        """Wait until there is an event of this number, or the end."""
        with self._news:
            self._waiting += 1
            self._news.wait_for(lambda: self._gone + len(self._frames) > number or self.outcome, seconds)
            self._waiting -= 1

    def join(self) -> None:
        """Somebody more reads it."""
        with self._news:
            self._readers += 1

    def leave(self) -> None:
        """A reader left."""
        with self._news:
            self._readers -= 1
            unread = self._readers <= 0
        if unread and not self._finish:
            self._lifetime.end()

    def unstored(self) -> Unstored:
        """Return what the database does not have."""
        outcome = self.outcome  # first: what is there once it is set is all
        with self._news:
            frames = self._frames[self._stored - self._gone :]
        return Unstored(self._stored, frames, outcome, self._room - self._left)

    def stored(self, count: int) -> None:
        """The database has `count` more events: the oldest of them may leave."""
        with self._news:
            self._stored += count
            known = self._frames[: self._stored - self._gone]
            if sum(map(len, known)) > NEAR:
                del self._frames[: len(known)]
                self._gone = self._stored

    def give_up(self) -> None:
        """Keep no more of it: the database does not take it."""
        self._full = True

    def _wake(self) -> None:
        with self._news:
            self._news.notify_all()
