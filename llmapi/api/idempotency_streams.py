"""A stream on its way to the client, remembered so that it can be given again."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from llmapi.gateway.idempotency_held import Held
from llmapi.gateway.idempotency_kept import Kept

# The last event of a stream that came to its end: ours, chat completions', responses'. JSON has no line breaks of its
# own, so no text of a model can look like one.
LAST = re.compile(rb"(?:^|\n)(?:event: (?:done|response\.completed|response\.incomplete)|data: \[DONE\])\n")


def ended_well(piece: bytes) -> bool:
    """Say whether these bytes of a stream end it as a whole answer ends."""
    return LAST.search(piece) is not None


class Recorded:
    """A stream's bytes, passed on; kept once its last event went out, given up when it ends without.

    An object and not a generator: closing must work before the start. Whoever makes streams that outlive their client
    keeps or gives up the key at their end instead of here.
    """

    def __init__(
        self, pieces: Iterable[Any], held: Held, headers: tuple[tuple[str, str], ...], largest: int
    ) -> None:
        self._source, self._pieces = pieces, iter(pieces)
        self._held, self._headers = held, headers
        self._said: list[bytes] = []
        self._room = largest

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            piece: bytes = next(self._pieces)
        except BaseException:
            self._held.give_up()  # in vain after the last event
            raise
        self._remember(piece)
        return piece

    def close(self) -> None:
        """The client got everything, or left."""
        try:
            close = getattr(self._source, "close", None)
            if close is not None:
                close()
        finally:
            self._held.give_up()

    def _remember(self, piece: bytes) -> None:
        self._room -= len(piece)
        if self._room >= 0:
            self._said.append(piece)
        else:
            self._said.clear()
        if ended_well(piece):  # kept before the client sees it: who has seen the end may ask again
            self._held.keep(Kept(200, self._headers, b"".join(self._said) if self._room >= 0 else None))
