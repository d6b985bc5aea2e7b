"""The entries of the cache by meaning in the order they leave: bounded by number, bytes and time."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from llmapi.cache.expiry import Expiry
from llmapi.cache.invalid import Invalid
from llmapi.cache.record import Record
from llmapi.core.kept import Mark

STEP: Final = 8  # expired entries taken away at a time: no call pays for all
BARE: Final = 200  # bytes of an answer beside its text, and of a token's log-probabilities


class Lying(NamedTuple):
    """An entry as it lies here. `space` is the name of its namespace, `key` the exact cache's of its question."""

    entry: str
    space: str
    text: str
    record: Record
    key: str = ""

    @property
    def size(self) -> int:
        """Return about how many bytes its text and answer take."""
        answer = self.record.completion
        tokens = sum(1 + len(token.top) for token in answer.logprobs)
        return 2 * len(self.text) + 2 * len(answer.text) + BARE * (1 + tokens)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a worker keeps."""

    entries: int = 10_000
    size: int = 64 * 1_048_576  # bytes of texts and answers


class Shelf:
    """Entries by id, least recently used first out; safe for threads. `clock`: seconds since 1970."""

    def __init__(self, bounds: Bounds, invalid: Invalid, clock: Callable[[], float]) -> None:
        self._bounds, self._invalid, self._clock = bounds, invalid, clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, Lying] = OrderedDict()
        self._expiry = Expiry()
        self._size = 0

    def put(self, lying: Lying) -> list[Lying]:
        """Put an entry; return those that had to leave for it."""
        with self._lock:
            self._take(lying.entry)
            self._entries[lying.entry] = lying
            self._expiry.add(lying.entry, _until(lying))
            self._size += lying.size
            left = []
            while len(self._entries) > self._bounds.entries or (
                self._size > self._bounds.size and len(self._entries) > 1
            ):
                left.append(self._take(next(iter(self._entries))))
            return [each for each in left if each is not None]

    def get(self, entry: str) -> Lying | None:
        """Return an entry that may be served, the last one to leave from now on."""
        with self._lock:
            lying = self._entries.get(entry)
            if lying is None or self._clock() >= _until(lying) or self._invalid.means(lying.key, lying.record):
                return None
            self._entries.move_to_end(entry)
            return lying

    def known(self, entry: str) -> Lying | None:
        """Return an entry, whether or not it may be served."""
        return self._entries.get(entry)

    def take(self, entry: str) -> Lying | None:
        """Take an entry away."""
        with self._lock:
            return self._take(entry)

    def over(self) -> list[Lying]:
        """Take a few away whose time is over."""
        with self._lock:
            return [gone for name in self._expiry.over(self._clock(), STEP) if (gone := self._take(name)) is not None]

    def all(self, wanted: Callable[[Lying], bool]) -> list[Lying]:
        """Return the entries that are wanted."""
        with self._lock:
            return [lying for lying in self._entries.values() if wanted(lying)]

    def mark(self, mark: Mark) -> list[Lying]:
        """Return what a mark means; none of it is served from now on."""
        self._invalid.add([mark])
        mine, means = mark.tenant, self._invalid.means
        return self.all(lambda lying: lying.record.tenant == mine and means(lying.key, lying.record))

    def _take(self, entry: str) -> Lying | None:
        lying = self._entries.pop(entry, None)
        if lying is not None:
            self._expiry.forget(entry, _until(lying))
            self._size -= lying.size
        return lying


def _until(lying: Lying) -> float:
    return lying.record.created + lying.record.ttl
