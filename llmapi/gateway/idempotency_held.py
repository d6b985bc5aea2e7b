"""The right to work on a request, and what is known of its askings of providers."""

import threading
from typing import NamedTuple, Protocol

from llmapi.core.calls import NOTHING
from llmapi.core.errors import CallEnded, LlmApiError, ProviderBroken, ProviderHungUp
from llmapi.gateway.idempotency_kept import Kept


class Name(NamedTuple):
    """What a key belongs to, and the key."""

    tenant: str
    route: str
    key: str


class Book(Protocol):
    """Where held keys are written down (idempotency.py)."""

    def note_sent(self, held: "Held") -> None: ...

    def note_done(self, held: "Held", kept: Kept) -> None: ...

    def note_unknown(self, held: "Held") -> None: ...

    def free(self, held: "Held") -> None: ...


class Held:
    """A claimed key. `sending` and `refused` are a call's; at the end `keep` or `give_up`, once.

    A request may ask several times, and on several threads: votes, repairs, retries. Only the first asking is
    written down. An asking counts as fruitless when the provider surely generated nothing.
    """

    def __init__(self, book: Book, name: Name, owner: str) -> None:
        self.name, self.owner = name, owner
        self._book = book
        self._lock = threading.Lock()
        self._sent = self._ended = False
        self._fruitful = 0  # askings that brought something, or still may
        self._doubt = False

    @property
    def paid(self) -> bool:
        """Say whether a provider did something for this request, for certain."""
        return self._fruitful > 0 and not self._doubt

    def sending(self) -> None:
        """A provider is about to be asked; raises what forbids it: the claim was lost, or the storage is away."""
        with self._lock:
            self._note_sent()
            self._fruitful += 1

    def refused(self, error: LlmApiError) -> None:
        """An asking failed before its first chunk."""
        doubtful = error.in_doubt or isinstance(error, ProviderHungUp | ProviderBroken | CallEnded)
        with self._lock:
            self._doubt = self._doubt or doubtful
            if not doubtful and error.usage == NOTHING:
                self._fruitful -= 1

    def committing(self) -> None:
        """Work is about to be put down elsewhere, as a job; raises like `sending`."""
        with self._lock:
            self._note_sent()

    def keep(self, kept: Kept) -> None:
        """This is the answer, from now on."""
        if self._end():
            self._book.note_done(self, kept)

    def give_up(self) -> None:
        """There is no answer: the key is free again, unless a provider may have worked for it."""
        if not self._end():
            return
        if self._fruitful > 0 or self._doubt:
            self._book.note_unknown(self)
        else:
            self._book.free(self)

    def _note_sent(self) -> None:
        if not self._sent:
            self._book.note_sent(self)
            self._sent = True

    def _end(self) -> bool:
        with self._lock:
            ended, self._ended = self._ended, True
        return not ended
