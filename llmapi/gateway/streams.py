"""The log of streams: who lost the connection reads on from the next event, in this process or in another.

Events go to memory at once and to the database a few times a second, all streams in one transaction. A stream is
found in memory while it runs here; else its rows are read, and looked at again until they tell of its end.
"""

import threading
import time
from collections.abc import Generator, Sequence

import structlog
from sqlalchemy import Engine

from llmapi.core.clock import Monotonic, Sleep, Wall, monotonic, utc_now
from llmapi.core.errors import LlmApiError, NotFound, StorageFull
from llmapi.core.ids import ALPHABET, new_id
from llmapi.gateway.recording import Recording, Unstored
from llmapi.gateway.stream_shelf import Shelf

KEEP = 600.0  # seconds a stream can be read after its end
PAUSE = 0.05  # seconds between two writings
LONGEST_PAUSE = 1.0
SHARE = 9  # a pause is at least so many times what the last writing took
CARE = 5.0  # seconds between two signs of life
IDLE = 60.0  # seconds between two tidyings
LOOK = 0.1  # seconds between two looks at a stream of another process
YOUNG = 1.5  # seconds within which a stream may not be stored yet
PENDING = 32 * 1_048_576  # bytes that may wait for a database that fails

Frames = Generator[list[bytes], None, None]

log = structlog.get_logger(__name__)


class StreamLog:
    """Keeps recordings, and lets tenants read on.

    keep, most, most_per_tenant: as Shelf's
    """

    def __init__(
        self,
        engine: Engine,
        *,
        keep: float = KEEP,
        most: int = 256 * 1_048_576,
        most_per_tenant: int = 64 * 1_048_576,
        now: Wall = utc_now,
        clock: Monotonic = monotonic,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._shelf = Shelf(engine, keep=keep, most=most, most_per_tenant=most_per_tenant, now=now)
        self._now, self._clock, self._sleep = now, clock, sleep
        self._lock = threading.Lock()
        self._new: list[Recording] = []
        self._open: dict[str, Recording] = {}
        self._work, self._closing = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._cared = self._tidied = clock()

    def keep(self, recording: Recording) -> str:
        """Let a stream be found under the id that this returns."""
        recording.id = new_id("stream")
        with self._lock:
            self._new.append(recording)
            self._open[recording.id] = recording
        self._work.set()
        return recording.id

    def follow(self, id: str, tenant: str, number: int, patience: float = 0.5) -> Frames:
        """Return what a stream said and will say from event `number` on; an empty list after `patience` of silence.

        raises: NotFound at once; when the kept events end, StorageFull or LlmApiError if the stream does not end there
        """
        with self._lock:
            running = self._open.get(id)
        if running is not None and running.tenant == tenant:
            return self._from_memory(running, number, patience)
        self._need(id, tenant)
        return self._from_shelf(id, tenant, number, patience)

    def whole(self, id: str, tenant: str) -> bytes | None:
        """Return all that a stream said if it came to its good end, else None."""
        known = self._shelf.find(id, tenant)
        if known is None or known.outcome != "done":
            return None
        return b"".join(frame for frames in self.follow(id, tenant, 0) for frame in frames)

    def start(self) -> None:
        """Begin to write; where forks are made, after them."""
        self._closing.clear()
        self._thread = threading.Thread(target=self._run, name="streams", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what there is and stop."""
        self._closing.set()
        self._work.set()
        if self._thread is not None:
            self._thread.join(5.0)
            self._thread = None

    def flush(self) -> bool:
        """Write what is not in the database yet; False: it did not take it, which waits for the next time."""
        with self._lock:
            new, running = self._new, list(self._open.values())
            self._new = []
        said = [(each, more) for each in running if (more := each.unstored()).frames or more.outcome]
        if not new and not said:
            return True
        try:
            self._shelf.store(new, said)
        except LlmApiError as error:
            self._failed(error, new, said)
            return False
        for recording, more in said:
            recording.stored(len(more.frames))
        with self._lock:
            for recording, more in said:
                if more.outcome:
                    del self._open[recording.id]
        return True

    def care(self) -> None:
        """Say which streams go on, and delete old ones, each when it is time."""
        now = self._clock()
        try:
            if self._open and now - self._cared >= CARE:
                self._cared = now
                self._shelf.touch(list(self._open))
            if now - self._tidied >= IDLE:
                self._tidied = now
                self.tidy()
        except LlmApiError as error:
            log.warning("streams are not cared for", code=error.code)

    def tidy(self) -> None:
        """Delete the streams that are too old or too many."""
        while self._shelf.tidy():
            pass

    def _run(self) -> None:
        pause = PAUSE
        while not self._closing.is_set():
            if not self._open:
                self._work.wait(IDLE)
            self._work.clear()
            self._closing.wait(pause)
            begun = self._clock()
            written = self.flush()
            pause = min(LONGEST_PAUSE, max(PAUSE, SHARE * (self._clock() - begun))) if written else LONGEST_PAUSE
            self.care()

    def _failed(self, error: LlmApiError, new: list[Recording], said: Sequence[tuple[Recording, Unstored]]) -> None:
        log.warning("streams are not stored", code=error.code)
        with self._lock:
            self._new = new + self._new
            if sum(len(frame) for _, more in said for frame in more.frames) < PENDING:
                return
            for recording, more in said:
                recording.give_up()
                if more.outcome:
                    del self._open[recording.id]
            self._new = [each for each in self._new if each.id in self._open]

    def _from_memory(self, running: Recording, number: int, patience: float) -> Frames:
        running.join()
        try:
            while True:
                over = running.outcome
                frames = running.since(number)
                if frames is None:
                    frames = self._shelf.events(running.id, number)
                number += len(frames)
                if not frames and over:
                    return ended(over)
                yield frames
                if not over:
                    running.wait(number, patience)
        finally:
            running.leave()

    def _from_shelf(self, id: str, tenant: str, number: int, patience: float) -> Frames:
        spoke = self._clock()
        while True:
            known = self._shelf.find(id, tenant)  # before the events: an end is stored with the last of them
            frames = self._shelf.events(id, number)
            number += len(frames)
            if frames or self._clock() - spoke >= patience:
                spoke = self._clock()
                yield frames
            if frames:
                continue
            if known is None or known.outcome:
                return ended(known.outcome if known else "cut")
            self._sleep(LOOK)

    def _need(self, id: str, tenant: str) -> None:
        """Raise NotFound unless the stream is stored; one that began just now in another process is waited for."""
        age = abs(self._now().timestamp() - born(id))  # the clocks of two machines differ a little
        looks = int(YOUNG / LOOK) if age < YOUNG else 0
        while self._shelf.find(id, tenant) is None:
            if not looks:
                raise NotFound("There is no such stream.")
            looks -= 1
            self._sleep(LOOK)


def ended(outcome: str | None) -> None:
    """Raise what tells that a stream has no last word."""
    if outcome == "full":
        raise StorageFull("the rest of this stream was too much to be kept")
    if outcome == "cut":
        raise LlmApiError("this stream was cut off: the process that wrote it has ended")


def born(id: str) -> float:
    """Return when an id was made, in seconds since 1970; 0.0 when it is no id of ours."""
    name = id.removeprefix("stream_")
    if len(name) != 26 or not set(name) <= set(ALPHABET):
        return 0.0
    number = 0
    for letter in name:
        number = number << 5 | ALPHABET.index(letter)
    return (number >> 80) / 1000
