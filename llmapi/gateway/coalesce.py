"""Identical calls that are under way at the same time ask upstream once."""

import threading
from dataclasses import replace
from functools import partial

from llmapi.cache.keys import cache_key
from llmapi.core.calls import Call
from llmapi.core.clock import Monotonic, monotonic
from llmapi.core.errors import LlmApiError
from llmapi.core.reply import Handler, Reply
from llmapi.gateway.shared import Reader, SharedStream


class Coalesce:
    """Let the first of several identical calls ask, and the others share its answer (shared.py says how).

    `bypass` wants an answer of its own and joins nobody; `refresh` wants one that is begun now at the earliest, so it
    shares only with other refreshes. A call that is sent `again` joins its own first sending in any mode. Who pays
    with a key of his own shares with nobody: another's key may fail, and may not be charged for him. When the asking
    fails in a way that asking again may cure, those who have read nothing yet ask once more, together; a second
    failure is theirs.
    """

    def __init__(self, clock: Monotonic = monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._streams: dict[str, SharedStream] = {}

    def __call__(self, call: Call, proceed: Handler) -> Reply:
        if call.provider_key:
            return proceed(call)
        key = cache_key(call)
        if call.cache.mode in ("bypass", "refresh"):
            key += f":{call.cache.mode}"
        reader, leads = self._enter(key, call)
        if leads:
            return self._lead(reader, call, proceed)
        try:
            return reader.reply()
        except LlmApiError:
            if not _worth_asking_again(reader):
                raise
        reader, leads = self._enter(key, call, after=reader.stream)
        return self._lead(reader, call, proceed) if leads else reader.reply()

    def under_way(self) -> int:
        """Return how many different questions are being asked right now."""
        return len(self._streams)

    def _enter(self, key: str, call: Call, after: SharedStream | None = None) -> tuple[Reader, bool]:
        """Return a reader, and whether it must ask. `after` failed: all its readers go on to the same stream."""
        with self._lock:
            joins = call.again or call.cache.mode != "bypass"
            reader = self._joined(key, call, after) if joins else None
            leads = reader is None
            if reader is None:
                stream = SharedStream(call.lifetime.twin(), partial(self._forget, key))
                reader = stream.enter(call.lifetime, self._clock)
                self._streams[key] = stream
            if after is not None:
                after.successor = reader.stream
        reader.listen()  # not under the lock: a life already over is told at once, and leads to _forget
        return reader, leads

    def _joined(self, key: str, call: Call, after: SharedStream | None) -> Reader | None:
        """Return a reader of the stream under way for this question, if one can be joined."""
        for stream in (after.successor if after else None, self._streams.get(key)):
            if stream is not None and stream is not after:
                reader = stream.join(call.lifetime, self._clock)
                if reader is not None:
                    return reader
        return None

    def _lead(self, reader: Reader, call: Call, proceed: Handler) -> Reply:
        try:
            upstream = proceed(replace(call, lifetime=reader.stream.lifetime))
        except BaseException as error:
            reader.stream.settle(reader, error)
            reader.close()
            raise
        reader.stream.start(upstream)
        return reader.reply()

    def _forget(self, key: str, stream: SharedStream) -> None:
        with self._lock:
            if self._streams.get(key) is stream:
                del self._streams[key]


def _worth_asking_again(reader: Reader) -> bool:
    """Say whether what this reader was told was the shared asking's failure, curable, and there is time."""
    failure = reader.stream.failure
    return isinstance(failure, LlmApiError) and failure.retryable and reader.lifetime.remaining() > 0
