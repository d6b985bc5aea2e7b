"""The questions of a warm-up: sent in the request, the lines of a file, or the most asked of those that are kept."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson

from llmapi.core.errors import LlmApiError, ValidationFailed
from llmapi.tasks.answers import Json
from llmapi.tasks.batch_doors import Door, Doors
from llmapi.tasks.batch_files import Files
from llmapi.tasks.batch_lines import BOM, lines_of

MOST: Final = 1000  # questions of one job
ADDRESSES: Final[Mapping[str, str]] = {  # the door of a task, for the lines of files
    "text": "/v1/text/generate", "code": "/v1/code/generate", "classify": "/v1/classify", "chat": "/v1/chat"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """One request by its place in what was sent (1 is the first); `wrong` if it is none."""

    number: int
    wanted: Json
    wrong: LlmApiError | None = None


class MostAsked(Protocol):
    """Knows what was asked most (tasks/asked.py)."""

    def top(self, tenant: str, task: str, count: int) -> list[Json]: ...


class Questions:
    """Reads them; `serve` tells it how lines of files are read."""

    def __init__(self, files: Files, asked: MostAsked) -> None:
        self._files, self._asked = files, asked
        self._doors: Doors = {}

    def serve(self, doors: Doors) -> None:
        """Know these endpoints from now on."""
        self._doors = doors

    def of(self, tenant: str, wanted: Mapping[str, Any]) -> Iterator[Question]:
        """Yield the questions of a job's arguments; raises NotFound, ValidationFailed."""
        if "top" in wanted:
            most = self._asked.top(tenant, wanted["task"], wanted["top"])
            yield from (Question(number, each) for number, each in enumerate(most, 1))
            return
        if "file" not in wanted:
            yield from (Question(number, each) for number, each in enumerate(wanted["requests"], 1))
            return
        read = 0
        for number, raw in enumerate(lines_of(self._files.content(wanted["file"], tenant)), 1):
            if raw is None or raw.removeprefix(BOM if number == 1 else b"").strip():
                read += 1
                if read > MOST:
                    raise ValidationFailed(f"A file may have {MOST} lines.", fields={"file": ["Too many lines."]})
                yield self.read(number, raw, wanted["task"])

    def read(self, number: int, raw: bytes | None, task: str) -> Question:
        """Return a line as a question: a request as its route takes it, or a line of a batch to that route."""
        door: Door | None = self._doors.get(ADDRESSES[task])
        try:
            if door is None or raw is None:
                raise ValidationFailed("The line is too long." if raw is None else f"No worker knows the task {task}.")
            body = door.parse(raw.removeprefix(BOM).strip())
            if isinstance(body, dict) and "url" in body and "body" in body:
                if body["url"] != ADDRESSES[task]:
                    raise ValidationFailed(f"url must be {ADDRESSES[task]}.")
                body = body["body"]
            return Question(number, door.read(body, "").wanted)
        except LlmApiError as error:
            return Question(number, {}, error)


def once_each(questions: Iterable[Question]) -> list[Question]:
    """Return the questions without those that were there before."""
    found: dict[bytes, Question] = {}
    for each in questions:
        mark = orjson.dumps(each.number if each.wrong else each.wanted, option=orjson.OPT_SORT_KEYS)
        found.setdefault(mark, each)
    return list(found.values())
