"""What comes back from a call, on its way out through the stages.

A reply is always a stream; a plain answer is a stream of one chunk, so every stage serves both.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from llmapi.core.calls import Call, Chunk, Completion, Facts, whole


class Reply:
    """An answer as a stream of chunks, once, with two endings that stages may ask to be told of.

    *completed*: the whole answer came. *ended*: always and exactly once, with the error if there was one, also when
    the reader leaves early (`close`); the completion it gets is then what had come so far. A reply belongs to one
    thread at a time: who wants to stop a read in another thread ends the call's lifetime.
    """

    def __init__(self, chunks: Iterator[Chunk], facts: Facts) -> None:
        self.facts = facts
        self.completed = False
        self._chunks = chunks
        self._seen: list[Chunk] = []
        self._on_complete: list[Callable[[Completion], None]] = []
        self._on_end: list[Callable[[Completion, BaseException | None], None]] = []
        self._over = False

    @classmethod
    def of(cls, completion: Completion, facts: Facts) -> "Reply":
        """Return a reply whose answer is already whole."""
        return cls(iter([completion.chunk()]), facts)

    def told(self, **facts: Any) -> "Reply":
        """Add to what is known about this reply; returns the same reply."""
        self.facts = replace(self.facts, **facts)
        return self

    def when_complete(self, tell: Callable[[Completion], None]) -> "Reply":
        """Call `tell` with the whole answer, only if it came whole; returns the same reply."""
        self._on_complete.append(tell)
        return self

    def when_ended(self, tell: Callable[[Completion, BaseException | None], None]) -> "Reply":
        """Call `tell` once at the end, however it comes; returns the same reply."""
        self._on_end.append(tell)
        return self

    def __iter__(self) -> Iterator[Chunk]:
        if self._over:
            return
        try:
            for chunk in self._chunks:
                self._seen.append(chunk)
                yield chunk
            self._complete()
        except GeneratorExit:
            self._end(None)
            raise
        except BaseException as error:
            self._end(error)
            raise
        self._end(None)

    def completion(self) -> Completion:
        """Read to the end and return the whole answer."""
        for _ in self:
            pass
        return whole(self._seen)

    def close(self) -> None:
        """Leave early: the source is closed, the ending is told."""
        self._end(None)

    def _complete(self) -> None:
        if self._over:
            return  # closed while it was read: half an answer must not be told as a whole one
        self.completed = True
        answer = whole(self._seen)
        for tell in self._on_complete:
            tell(answer)

    def _end(self, error: BaseException | None) -> None:
        if self._over:
            return
        self._over = True
        close = getattr(self._chunks, "close", None)
        try:
            if close is not None and error is None:
                close()
        finally:
            listeners, self._on_end, self._on_complete = self._on_end, [], []  # they refer back here: let both go
            for tell in listeners:
                tell(whole(self._seen), error)


Handler = Callable[[Call], Reply]
