"""The lines of a batch: how they are read, what is wrong with them, and how each is told in the files that come out."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from llmapi.core.errors import LlmApiError
from llmapi.core.ids import new_id
from llmapi.tasks.answers import Json
from llmapi.tasks.batch_doors import Door

LONGEST = 1_048_576  # bytes of a line: as much as the body of a request
FIELDS = frozenset({"custom_id", "method", "url", "body"})
BOM = b"\xef\xbb\xbf"
UNKNOWN = ("idempotency_outcome_unknown", "It was sent to a provider, and whether it was worked on cannot be told.")
EXPIRED = ("batch_expired", "The batch's time was over before this line was asked.")
CANCELLED = ("batch_cancelled", "The batch was cancelled before this line was asked.")


class WrongLine(Exception):
    """A line that is no request: its code, and what is wrong."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def lines_of(pieces: Iterable[bytes], longest: int = LONGEST) -> Iterator[bytes | None]:
    """Yield the lines of a file that comes in pieces, without their ends; None for one that is too long to hold.

    Blank lines are yielded too, so that each line has the number it has in an editor.
    """
    rest, lost = b"", False
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield None if lost or len(line) > longest else line
            lost = False
        if len(rest) > longest:
            rest, lost = b"", True
    if rest or lost:
        yield None if lost else rest


class Checker:
    """Checks the lines of one batch, one after the other, and makes rows of them."""

    def __init__(self, batch: str, endpoint: str, door: Door) -> None:
        self._batch, self._endpoint, self._door = batch, endpoint, door
        self._seen: set[bytes] = set()

    def row(self, number: int, raw: bytes | None) -> Json | None:
        """Return a line as the table keeps it: waiting, or failed with its result; None for a blank one."""
        if raw is not None and not (raw := raw.removeprefix(BOM if number == 1 else b"").strip()):
            return None
        row: Json = {"batch": self._batch, "number": number, "custom_id": None, "body": None, "result": None}
        try:
            line = self._parsed(raw)
            row["custom_id"] = own_id(line)
            self._first(row["custom_id"])
            self._address(line)
        except WrongLine as wrong:
            told = line_error(self._batch, number, row["custom_id"], (wrong.code, wrong.message))
            return {**row, "state": "failed", "result": told}
        return {**row, **self._read(number, row["custom_id"], line.get("body"))}

    def _parsed(self, raw: bytes | None) -> Json:
        if raw is None:
            raise WrongLine("line_too_long", f"A line may have {LONGEST} bytes.")
        try:
            line = self._door.parse(raw)
        except LlmApiError as error:
            raise WrongLine(error.code, f"The line is not valid JSON: {error.message}"[:500]) from None
        if not isinstance(line, dict):
            raise WrongLine("invalid_line", "The line is not an object.")
        return line

    def _first(self, custom_id: str) -> None:
        mark = hashlib.blake2b(custom_id.encode(), digest_size=16).digest()  # as many bytes for long ones
        if mark in self._seen:
            raise WrongLine("duplicate_custom_id", "An earlier line has this custom_id.")
        self._seen.add(mark)

    def _address(self, line: Json) -> None:
        if line.get("method") != "POST":
            raise WrongLine("invalid_method", "method must be POST.")
        if line.get("url") != self._endpoint:
            raise WrongLine("invalid_url", f"url must be the batch's endpoint, {self._endpoint}.")
        if unknown := sorted(set(line) - FIELDS):
            raise WrongLine("invalid_line", f"The line has a field nobody knows: {unknown[0][:100]!r}.")

    def _read(self, number: int, custom_id: str, body: Any) -> Json:
        id = new_id("req")
        try:
            self._door.read(body, id)
        except LlmApiError as error:
            status, told = self._door.error(error, id)
            return {"state": "failed", "result": line_answer(self._batch, number, custom_id, (status, id, told))}
        return {"state": "waiting", "body": orjson.dumps(body).decode()}


def own_id(line: Json) -> str:
    """Return a line's custom_id; raises WrongLine."""
    found = line.get("custom_id")
    if not isinstance(found, str) or not 1 <= len(found) <= 512:
        raise WrongLine("invalid_custom_id", "custom_id must be a text of 1 to 512 characters.")
    return found


def line_answer(batch: str, number: int, custom_id: str | None, answer: tuple[int, str, Json]) -> str:
    """Return the line of a request that was answered; answer: status, request id, body."""
    status, request_id, body = answer
    response = {"status_code": status, "request_id": request_id, "body": body}
    return _line(batch, number, custom_id, response=response, error=None)


def line_error(batch: str, number: int, custom_id: str | None, error: tuple[str, str]) -> str:
    """Return the line of a request that has no answer; error: code, message."""
    code, message = error
    return _line(batch, number, custom_id, response=None, error={"code": code, "message": message, "line": number})


def _line(batch: str, number: int, custom_id: str | None, **told: Any) -> str:
    id = f"batch_req_{batch.rpartition('_')[2]}_{number}"
    return orjson.dumps({"id": id, "custom_id": custom_id, **told}).decode()
