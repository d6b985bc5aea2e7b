"""One answer read by several callers, each at its own pace and for as long as it likes.

There is no thread behind it: the reader that needs the next chunk and finds nobody fetching fetches it itself, from
the one upstream reply, into a buffer that all read. So no reader is lost when another leaves, the first one included.

Whoever meets the end of the upstream, or leaves last, carries the bill: its facts say what the asking cost
(`miss`, attempts, provider time). All others are `coalesced`: they paid nothing.
"""

import copy
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

from llmapi.core.calls import NOTHING, Chunk, Facts
from llmapi.core.clock import Monotonic
from llmapi.core.errors import CallEnded, LlmApiError, ProviderTimeout
from llmapi.core.lifetime import Lifetime
from llmapi.core.reply import Reply


class SharedStream:
    """What the readers of one upstream reply share; what changes is guarded by `_changed`.

    `lifetime` is the upstream call's own: it is ended when no reader is left that is alive. `forget` takes the
    stream off the list of those that may be joined.
    """

    def __init__(self, lifetime: Lifetime, forget: Callable[["SharedStream"], None]) -> None:
        self.lifetime = lifetime
        self.successor: SharedStream | None = None  # asked by all after this one failed; guarded by Coalesce
        self.upstream: Reply | None = None
        self.failure: BaseException | None = None
        self._forget = forget
        self._changed = threading.Condition(threading.Lock())
        self._chunks: list[Chunk] = []
        self._source: Iterator[Chunk] | None = None
        self._readers: set[Reader] = set()  # who has not left yet
        self._living: set[Reader] = set()  # those of them whose own lifetime goes on
        self._joined = 0
        self._payer = 0  # number of the reader that carries the bill
        self._fetching = False
        self._over = False  # the upstream ended, well or with `failure`
        self._given_up = False  # nobody was left alive before it ended

    def join(self, lifetime: Lifetime, clock: Monotonic) -> "Reader | None":
        """Return a reader that starts at the first chunk, or None when this stream can serve nobody any more."""
        with self._changed:
            too_late = not self._over and self.lifetime.remaining() <= 0
            return None if self._given_up or too_late else self.enter(lifetime, clock)

    def enter(self, lifetime: Lifetime, clock: Monotonic) -> "Reader":
        """Return the next reader; the first is the one that asks, and enters before anybody else knows the stream."""
        self._joined += 1
        reader = Reader(self, self._joined, lifetime, clock)
        self._readers.add(reader)
        self._living.add(reader)
        return reader

    def start(self, upstream: Reply) -> None:
        """Let the readers read: the upstream answers."""
        with self._changed:
            self.upstream = upstream
            self._source = iter(upstream)
            self._changed.notify_all()

    def pays(self, reader: "Reader") -> bool:
        """Say whether this reader carries the bill."""
        return self._payer == reader.number

    def chunk(self, position: int, reader: "Reader") -> Chunk | None:
        """Return the chunk at a position, fetching it if need be; None after the last. Raises what ended it."""
        while True:
            with self._changed:
                if position < len(self._chunks):
                    return self._chunks[position]
                if self._over:
                    self._raise_failure(reader)
                    return None
                reader.raise_if_dead()
                if self._source is None or self._fetching:
                    self._changed.wait(reader.lifetime.remaining())
                    continue
                self._fetching = True
                source = self._source
            self._fetch_for(reader, source)

    def settle(self, reader: "Reader", failure: BaseException | None) -> None:
        """The upstream has ended: the bill goes to the reader that met the end, or to one that is still there."""
        with self._changed:
            self._over = True
            self._fetching = False
            self.failure = failure
            heir = reader if reader in self._readers else next(iter(self._readers), None)
            self._payer = heir.number if heir else self._payer
            self._changed.notify_all()
        if failure is not None or heir is None:
            self._forget(self)  # a good answer may be joined until its payer has seen to it that it is kept

    def gone(self, reader: "Reader") -> None:
        """A reader's life is over: wake it if it waits; if nobody else is alive, end the upstream."""
        with self._changed:
            self._living.discard(reader)
            last = not (self._living or self._over or self._given_up)
            self._given_up = self._given_up or last
            self._changed.notify_all()
        if last:
            self._forget(self)
            self.lifetime.end()

    def leave(self, reader: "Reader") -> None:
        """A reader reads no further. The last one closes the upstream, and pays if it had not come to its end."""
        self.gone(reader)
        with self._changed:
            if reader not in self._readers:
                return
            self._readers.discard(reader)
            empty = not self._readers
            self._payer = self._payer or (reader.number if empty else 0)
            close = empty and not self._fetching  # else whoever fetches closes it
        if close and self.upstream is not None:
            self.upstream.close()
        if empty or self.pays(reader):
            self._forget(self)

    def _raise_failure(self, reader: "Reader") -> None:
        if self.failure is not None:
            raise self.failure if self.pays(reader) else _for_another(self.failure)

    def _fetch_for(self, reader: "Reader", source: Iterator[Chunk]) -> None:
        """Fetch a chunk; in a thread of its own if the upstream may take longer than this reader has."""
        if reader.lifetime.deadline < self.lifetime.deadline:
            threading.Thread(target=self._fetch, args=(reader, source), name="shared-stream", daemon=True).start()
        else:
            self._fetch(reader, source)

    def _fetch(self, reader: "Reader", source: Iterator[Chunk]) -> None:
        try:
            chunk = next(source, None)
        except BaseException as failure:
            self.settle(reader, failure)
            return
        if chunk is None:
            self.settle(reader, None)
            return
        with self._changed:
            self._chunks.append(chunk)
            self._fetching = False
            deserted = not self._readers
            self._changed.notify_all()
        if deserted and self.upstream is not None:
            self.upstream.close()


class Reader:
    """One caller's place in a shared stream: the chunks of its reply."""

    def __init__(self, stream: SharedStream, number: int, lifetime: Lifetime, clock: Monotonic) -> None:
        self.stream = stream
        self.number = number  # from 1, in the order of joining
        self.lifetime = lifetime
        self._clock = clock
        self._position = 0
        self._waited = 0.0  # seconds
        self._reply: Reply | None = None
        self._stop_listening: Callable[[], None] = _nothing

    def listen(self) -> None:
        """Notice from now on when the caller leaves, also while this reader waits."""
        self._stop_listening = self.lifetime.on_end(lambda: self.stream.gone(self))

    def reply(self) -> Reply:
        """Return this reader's reply once the first chunk is there; raises what came instead, having left."""
        try:
            self._next()
        except BaseException as error:
            self.close()
            self._tell_attempts(error)
            raise
        upstream = self.stream.upstream
        facts = upstream.facts if upstream is not None else Facts()
        if self.number > 1:
            facts = replace(facts, cache="coalesced", attempts=(), provider_time=0.0)
        self._reply = Reply(self, facts)
        return self._reply

    def _tell_attempts(self, error: BaseException) -> None:
        """Let a failure say what was asked, if this reader pays for it: who left the answer to others asked nobody."""
        upstream = self.stream.upstream
        if isinstance(error, LlmApiError) and not error.attempts and upstream is not None and self.stream.pays(self):
            error.attempts = upstream.facts.attempts

    def raise_if_dead(self) -> None:
        """Raise what a caller is told whose time is over."""
        if self.lifetime.ended:
            raise CallEnded("the caller left while it shared an answer")
        if self.lifetime.remaining() <= 0:
            raise ProviderTimeout("the answer that was shared took longer than this call had")

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        try:
            chunk = self._next()
        except BaseException:
            self.close()
            raise
        if chunk is None:
            self._tell_facts()  # not closed yet: that is for after the answer was kept
            raise StopIteration
        self._position += 1
        return chunk

    def close(self) -> None:
        """Leave the stream; the others read on."""
        self._stop_listening()
        self.stream.leave(self)
        self._tell_facts()
        self._stop_listening, self._reply = _nothing, None  # both refer back here: let all go

    def _next(self) -> Chunk | None:
        start = self._clock()
        try:
            return self.stream.chunk(self._position, self)
        finally:
            self._waited += self._clock() - start

    def _tell_facts(self) -> None:
        upstream = self.stream.upstream
        if self._reply is None or upstream is None:
            return
        if self.stream.pays(self):
            known = upstream.facts
            spent = {"attempts": known.attempts, "provider_time": known.provider_time}
            self._reply.told(cache=known.cache, landed=known.landed, **spent)
        else:
            self._reply.told(cache="coalesced", attempts=(), provider_time=self._waited)


def _nothing() -> None:
    """Do nothing."""


def _for_another(failure: BaseException) -> LlmApiError:
    """Return a failure for a reader that does not carry the bill: its own object, without attempts and usage."""
    if not isinstance(failure, LlmApiError):
        return LlmApiError("the call whose answer was shared failed unexpectedly")
    twin = copy.copy(failure)
    twin.attempts, twin.usage, twin.provider_time = (), NOTHING, 0.0
    return twin
