"""The exchange with a vendor that this thread is in the middle of: how the transport learns whose time it spends."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from llmapi.core.lifetime import Lifetime

T = TypeVar("T")


@dataclass(slots=True)
class Exchange:
    """One request to a vendor as its adapter sees it; the transport notes what became of it."""

    lifetime: Lifetime
    keep: int = 0  # bytes of the answer to remember, for what the vendor's library drops
    body: bytes = b""
    asked: bool = False  # the vendor was asked: what fails before is a question its library does not take


current: ContextVar[Exchange | None] = ContextVar("current", default=None)


class AttemptTime:
    """The time that one asking of several gets: little until its first chunk, then as long as the call lives.

    lifetime: the asking's own, which ends with the call's
    """

    def __init__(self, whole: Lifetime, seconds: float) -> None:
        self.lifetime = whole.twin()
        self.lifetime.deadline -= max(0.0, whole.remaining() - seconds)
        self._deadline = whole.deadline
        self.release = whole.on_end(self.lifetime.end)

    def begun(self) -> None:
        """Let the answer go on: sockets look at the deadline anew before each read."""
        self.lifetime.deadline = self._deadline


@contextmanager
def during(exchange: Exchange) -> Iterator[None]:
    """Let the transport know of this exchange while the vendor's library works."""
    token = current.set(exchange)
    try:
        yield
    finally:
        current.reset(token)


def stepping(exchange: Exchange, parts: Iterator[T]) -> Generator[T]:
    """Yield from the vendor's stream with the exchange known during each step only.

    A generator runs in its reader's context: what it sets and leaves set while it yields would leak into the reader.
    """
    end = object()
    try:
        while True:
            with during(exchange):
                part = next(parts, end)
            if part is end:
                return
            yield part  # type: ignore[misc]  # no longer `end`
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()
