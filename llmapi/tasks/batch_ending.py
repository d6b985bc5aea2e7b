"""How a batch ends: its lines become two files, in their order, and its last status is told in one transaction."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Engine

from llmapi.core.clock import Wall, utc_now
from llmapi.core.contracts import Outbox
from llmapi.db.engine import writing
from llmapi.tasks.batch_files import Files, Upload
from llmapi.tasks.batch_lines import CANCELLED, EXPIRED, UNKNOWN, line_error
from llmapi.tasks.batch_rows import PAGE, Batch, Line, Rows

# What is told of lines that were not asked, by how the batch ends.
UNASKED = {"expired": EXPIRED, "cancelled": CANCELLED}
BOUNDLESS = 2**62


class Output:
    """A file that comes into being with its first line."""

    def __init__(self, files: Files, tenant: str, filename: str) -> None:
        self.upload: Upload | None = None
        self.lines = 0
        self._files, self._tenant, self._filename = files, tenant, filename

    def write(self, line: str) -> None:
        """Take a line in."""
        if self.upload is None:
            self.upload = self._files.begin(self._tenant, "batch_output", self._filename, most=BOUNDLESS)
        self.upload.write(line.encode() + b"\n")
        self.lines += 1

    def close(self) -> None:
        """Write what is left."""
        if self.upload is not None:
            self.upload.blob.close()

    def abandon(self) -> None:
        """Forget what was written."""
        if self.upload is not None:
            self._files.abandon(self.upload)


class Ending:
    """Ends batches."""

    def __init__(
        self, engine: Engine, rows: Rows, files: Files, *, outbox: Outbox | None = None, now: Wall = utc_now
    ) -> None:
        self._engine, self._rows, self._files, self._outbox, self._now = engine, rows, files, outbox, now

    def fail(self, batch: Batch, owner: str, errors: Sequence[Mapping[str, Any]]) -> bool:
        """End a batch none of whose lines was asked; False: somebody else has ended it."""
        told = orjson.dumps(list(errors)).decode()
        return self._close(batch, owner, "failed", None, None, errors=told)

    def end(self, batch: Batch, owner: str, status: str) -> bool:
        """End a batch as completed, expired or cancelled, with what its lines became; False: somebody else has."""
        self._rows.change(batch.id, owner, of=("in_progress",), status="finalizing", finalizing_at=self._now())
        good = Output(self._files, batch.tenant, f"{batch.id}_output.jsonl")
        bad = Output(self._files, batch.tenant, f"{batch.id}_error.jsonl")
        for line in self._lines(batch.id):
            if line.state == "done":
                good.write(line.result or "")
            else:
                bad.write(line.result or left(batch.id, line, status))
        good.close()
        bad.close()
        if self._close(batch, owner, status, good, bad):
            return True
        good.abandon()
        bad.abandon()
        return False

    def _lines(self, id: str) -> Iterator[Line]:
        after = 0
        while page := self._rows.page(id, after, limit=PAGE):
            yield from page
            after = page[-1].number

    def _close(
        self, batch: Batch, owner: str, status: str, good: Output | None, bad: Output | None, **values: Any
    ) -> bool:
        ended: dict[str, Any] = {"status": status, f"{status}_at": self._now(), **values}
        if good and bad:
            ended |= {"completed": good.lines, "failed": bad.lines, "total": good.lines + bad.lines}
        with writing(self._engine) as connection:
            for name, output in (("output_file", good), ("error_file", bad)):
                if output and output.upload:
                    ended[name] = self._files.enter(connection, output.upload, batch.keep_for).id
            if not self._rows.change_in(connection, batch.id, owner, **ended):
                connection.rollback()
                return False
            if self._outbox is not None:
                self._outbox.add(connection, batch.tenant, f"batch.{status}", notice(batch, ended))
        self._rows.forget(batch.id, owner)
        return True


def left(batch: str, line: Line, status: str) -> str:
    """Return the line for a request without an answer, when its batch ends."""
    unsent = line.state == "waiting"
    return line_error(batch, line.number, line.custom_id, UNASKED.get(status, UNKNOWN) if unsent else UNKNOWN)


def notice(batch: Batch, ended: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a webhook says of a batch that ended; its results are in its files."""
    counts = {name: ended.get(name, 0) for name in ("total", "completed", "failed")}
    return {
        "id": batch.id,
        "endpoint": batch.endpoint,
        "status": ended["status"],
        "request_counts": counts,
        "input_file_id": batch.input_file,
        "output_file_id": ended.get("output_file"),
        "error_file_id": ended.get("error_file"),
        "metadata": dict(batch.labels),
    }
