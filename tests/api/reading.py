"""Reads a stream of server-sent events as a client does."""

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """One event of a stream; data is parsed."""

    id: str
    kind: str
    data: Any


def events_of(stream: bytes) -> list[Event]:
    """Return the events of a whole stream, comments left out."""
    found = []
    for block in stream.decode().split("\n\n"):
        rows = dict(row.split(": ", 1) for row in block.split("\n") if row and not row.startswith(":"))
        if rows:
            found.append(Event(rows["id"], rows["event"], json.loads(rows["data"])))
    return found
