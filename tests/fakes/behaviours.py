"""What a fake upstream can be told to do with one request. A str is a good answer, an int a status."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmapi.core.calls import ToolCall


@dataclass(frozen=True)
class Answer:
    """A good answer, or one that is odd in a way the vendor's format has words for."""

    text: str = "Fine."
    pieces: tuple[str, ...] = ()  # how a stream cuts the text; (): at its spaces
    tool_calls: tuple[ToolCall, ...] = ()  # wanted after the text; Gemini's have no ids
    finish: str | None = "stop"  # stop, length, tool_calls, blocked (for its content), or None: never said
    usage: Mapping[str, Any] | None = None  # in the vendor's words, instead of the usual
    thinking: int = 0  # tokens thought before, part of the output
    cached: int = 0  # tokens of the input the vendor had cached
    delay: float = 0.0  # seconds before the headers
    gap: float = 0.0  # seconds before each further event of a stream
    gate: threading.Semaphore | None = None  # each event of a stream waits for one release of it
    cut_after: int | None = None  # events (or bytes of a plain answer) after which the connection closes
    extra: Mapping[str, Any] = field(default_factory=dict)  # put into the body as it is


@dataclass(frozen=True)
class Blocked:
    """The prompt was refused for its content: no answer, but it is billed."""


@dataclass(frozen=True)
class Empty:
    """A success without any candidate or choice."""


@dataclass(frozen=True)
class Status:
    """An error as the vendor writes it."""

    code: int
    message: str = "Something is wrong."
    headers: Mapping[str, str] = field(default_factory=dict)
    details: Any = None  # in the vendor's words: RetryInfo, QuotaFailure; an error code


@dataclass(frozen=True)
class Raw:
    """Any bytes at all: HTML with 200, broken JSON, broken events."""

    body: bytes
    status: int = 200
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StreamError:
    """An error event inside a stream that began well."""

    text: str = "Half "
    code: int = 503


@dataclass(frozen=True)
class Drip:
    """A byte at a time, for ever: each of them in time, none of them the last."""

    gap: float = 0.05  # seconds
    where: str = "body"  # or "headers"


@dataclass(frozen=True)
class Reset:
    """The connection is reset (RST) before any answer."""


@dataclass(frozen=True)
class Close:
    """The connection is closed (FIN) before any answer."""


@dataclass(frozen=True)
class Hang:
    """Nothing comes until the other side leaves."""
