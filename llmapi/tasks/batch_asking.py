"""One line of a batch, asked once: it is noted as sent before a provider hears of it, and its answer before the next.

What surely was not worked on (the provider was busy, or away) is asked again after a while; the rest never is.
"""

import logging
from dataclasses import dataclass, field, replace

import orjson

from llmapi.core.errors import CallEnded, LlmApiError, Overloaded, StorageFull
from llmapi.core.ids import new_id
from llmapi.core.lifetime import Lifetime
from llmapi.gateway.idempotency_held import Held, Name
from llmapi.gateway.idempotency_kept import Kept
from llmapi.gateway.retry import Nap, nap
from llmapi.tasks.answers import Json
from llmapi.tasks.batch_doors import Door
from llmapi.tasks.batch_lines import line_answer
from llmapi.tasks.batch_rows import Batch, Line, Rows
from llmapi.tasks.runner import Caller, Tasks

log = logging.getLogger(__name__)

TRIES = 6  # of a line that was never worked on
PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before the second try, and at most
BATCH = 0  # priority of a line: after calls somebody waits for, and after jobs
WRITES = 20  # tries to keep an answer while the storage is busy
WRITE_PAUSE = 0.5  # seconds between them
Answer = tuple[int, Json]  # status, body


@dataclass
class Run:
    """One run's right to a batch, and what it needs for it."""

    batch: Batch
    owner: str
    door: Door
    lifetime: Lifetime
    lost: bool = field(default=False)  # another run has it

    def over(self) -> bool:
        """Say whether nothing more may be done for it."""
        return self.lost or self.lifetime.remaining() <= 0


class Note:
    """Writes down what Held learns about one asking of one line."""

    def __init__(self, rows: Rows, run: Run, number: int) -> None:
        self.unharmed = False  # nobody worked on it
        self._rows, self._run, self._number = rows, run, number
        self._sent = False

    def note_sent(self, held: Held) -> None:
        """A provider is about to be asked; raises CallEnded if the batch was taken over."""
        if not self._rows.send(self._run.batch.id, self._number, self._run.owner):
            self._run.lost = True
            raise CallEnded("The batch was taken over.")
        self._sent = True

    def note_done(self, held: Held, kept: Kept) -> None:
        """Its answer is kept by who asked."""

    def note_unknown(self, held: Held) -> None:
        """It stays sent."""

    def free(self, held: Held) -> None:
        """It can be asked again."""
        if self._sent:
            self._rows.unsend(self._run.batch.id, self._number, self._run.owner)
        self.unharmed = True


class Asker:
    """Asks lines and keeps what came of them."""

    def __init__(self, tasks: Tasks, rows: Rows, *, tries: int = TRIES, sleep: Nap = nap) -> None:
        self._tasks, self._rows, self._tries, self._sleep = tasks, rows, tries, sleep

    def ask(self, run: Run, line: Line) -> None:
        """Ask a line until there is an answer to keep, or the run is over; raises StorageFull, Overloaded."""
        for number in range(1, self._tries + 1):
            id, note = new_id("req"), Note(self._rows, run, line.number)
            try:
                answer = 200, self._asked(run, line, id, note)
            except LlmApiError as error:
                if run.over():
                    return
                if note.unharmed and error.retryable and number < self._tries:
                    self._sleep(pause(number, error), run.lifetime)
                    if run.over():
                        return
                    continue
                answer = run.door.error(error, id)
            self._keep(run, line, id, answer)
            return

    def recall(self, run: Run, line: Line) -> None:
        """Look whether the answer to a line whose run was lost is in the cache; nobody is asked."""
        id = new_id("req")
        with run.lifetime.part(self._tasks.timeout(run.door.task)) as life:
            try:
                question = run.door.read(orjson.loads(line.body or "null"), id)
                cache = question.wanted.get("cache", {})
                if cache.get("mode", "use") != "use":
                    return
                wanted = {**question.wanted, "cache": {**cache, "mode": "only"}}
                told = self._tasks.answer(run.door.task, wanted, self._caller(run, id, life))
            except LlmApiError:
                return
        self._keep(run, line, id, (200, question.show(told)))

    def _asked(self, run: Run, line: Line, id: str, note: Note) -> Json:
        held = Held(note, Name(run.batch.tenant, run.batch.id, str(line.number)), run.owner)
        with run.lifetime.part(self._tasks.timeout(run.door.task)) as life:
            try:
                question = run.door.read(orjson.loads(line.body or "null"), id)
                caller = replace(self._caller(run, id, life), sending=held.sending, refused=held.refused)
                return question.show(self._tasks.answer(run.door.task, question.wanted, caller))
            except LlmApiError:
                held.give_up()
                raise

    @staticmethod
    def _caller(run: Run, id: str, life: Lifetime) -> Caller:
        return Caller(run.batch.tenant, id, life, payer=run.batch.payer, batch=True, priority=BATCH)

    def _keep(self, run: Run, line: Line, id: str, answer: Answer) -> None:
        """Keep an answer that may have been paid for, whatever it takes."""
        status, body = answer
        result = line_answer(run.batch.id, line.number, line.custom_id, (status, id, body))
        state = "done" if status < 400 else "failed"
        for left in reversed(range(WRITES)):
            try:
                run.lost |= not self._rows.answer(run.batch.id, line.number, run.owner, state, result)
                return
            except (Overloaded, StorageFull) as error:
                log.warning("line %d of %s has an answer that cannot be kept yet: %s", line.number, run.batch.id, error)
                if not left:
                    raise
            self._sleep(WRITE_PAUSE, Lifetime(WRITE_PAUSE))  # not the run's: its end makes the answer no less paid


def pause(number: int, error: LlmApiError) -> float:
    """Return the seconds to wait after a try (1 is the first)."""
    return max(error.retry_after or 0.0, min(LONGEST_PAUSE, PAUSE * 2.0 ** (number - 1)))
