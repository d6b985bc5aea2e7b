"""Code fences in a model's answer (CommonMark 0.31, section 4.5), read whole or as the answer streams in.

One reader serves both, so that a stream and the whole answer are understood alike, whatever the chunks. It departs
from CommonMark where models do: an opening fence may be indented by any width, and a fence that names a known language
inside a block opens an inner one (markdown in a docstring), whose end does not close the block.
"""

import re
import string
from dataclasses import dataclass
from typing import Literal

from llmapi.tasks.languages import language_named

FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})([^`\n]{0,100}|(?<=~)[^\n]{0,100})")
MAYBE_FENCE = re.compile(r"[ \t]*(?:`{0,2}|~{0,2}|(?:`{3,}|~{3,})[^\n]{0,100})")  # every start of a FENCE
BLANK = string.whitespace
EDGE = BLANK + "`~"  # what may turn out to be no part of the code once it has ended
CUT_FENCE = re.compile(r"(?:`{3,}|~{3,})\s*\Z")


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of an answer; `open` carries the fence's language tag, `close` nothing."""

    kind: Literal["prose", "open", "code", "close"]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, its fences taken off."""

    tag: str
    text: str
    closed: bool


class FenceReader:
    """Reads text by and by and tells prose and code apart. `passing` closing fences of a block count as its content."""

    def __init__(self, passing: int = 0) -> None:
        self._passing = passing
        self._waiting = ""  # the start of a line that may still become a fence
        self._decided = False  # the rest of the current line is known to be no fence
        self._fence = ""  # the opening fence of the block being read, "" outside
        self._indent = 0
        self._inner = 0  # blocks open inside the block

    def feed(self, text: str) -> list[Piece]:
        """Return what is certain so far."""
        *lines, last = (self._waiting + text).split("\n")
        self._waiting = ""
        pieces = []
        for line in lines:
            pieces.append(self._content(line + "\n") if self._decided else self._line(line + "\n"))
            self._decided = False
        if self._decided:
            pieces.append(self._content(last))
        elif MAYBE_FENCE.fullmatch(last):
            self._waiting = last
        else:
            pieces.append(self._content(self._unindented(last)))
            self._decided = True
        return pieces

    def close(self) -> list[Piece]:
        """Return the rest."""
        line, self._waiting = self._waiting, ""
        if not line or (self._fence and line.strip() == self._fence[0] * 2):  # a closing fence cut short
            return []
        return [self._line(line)]

    def _line(self, line: str) -> Piece:
        fence = FENCE.fullmatch(line.removesuffix("\n"))
        if fence is None:
            return self._content(self._unindented(line))
        indent, ticks, info = len(fence[1]), fence[2], fence[3].strip()
        if not self._fence:
            self._fence, self._indent, self._inner = ticks, indent, 0
            return Piece("open", _tag(info))
        if self._closes(indent, ticks, info):
            self._fence = ""
            return Piece("close")
        return self._content(self._unindented(line))

    def _closes(self, indent: int, ticks: str, info: str) -> bool:
        if ticks[0] != self._fence[0] or indent > self._indent + 3:
            return False
        if info:
            self._inner += language_named(_tag(info)) is not None
            return False
        if self._inner:
            self._inner -= 1
            return False
        if len(ticks) >= len(self._fence) and self._passing:
            self._passing -= 1
            return False
        return len(ticks) >= len(self._fence)

    def _unindented(self, line: str) -> str:
        """Return a line without the indentation its block's fence has."""
        width = len(line) - len(line.lstrip(" \t"))
        return line[min(width, self._indent) :] if self._fence else line

    def _content(self, text: str) -> Piece:
        return Piece("code" if self._fence else "prose", text)


class Trimmed:
    """Passes code on without blank lines at its start and without space, or the rest of a fence, at its end."""

    def __init__(self) -> None:
        self._held = ""
        self.begun = False

    def feed(self, text: str) -> str:
        """Return what is certain to belong to the code."""
        self._held += text
        body = self._held.rstrip(EDGE)
        self._held = self._held[len(body) :]
        return self._begin(body)

    def close(self, *, unclosed: bool) -> str:
        """Return the rest; of code that no fence closed, a fence right behind the last line is no part."""
        rest = CUT_FENCE.sub("", self._held) if unclosed else self._held
        self._held = ""
        return self._begin(rest.rstrip(BLANK))

    def _begin(self, text: str) -> str:
        if self.begun or not text:
            return text
        self.begun = True
        blank = text[: len(text) - len(text.lstrip(BLANK))]
        return text[blank.rfind("\n") + 1 :]


def trimmed(text: str, *, unclosed: bool = False) -> str:
    """Return code without blank lines around it."""
    trim = Trimmed()
    return trim.feed(text) + trim.close(unclosed=unclosed)


def segments_of(text: str, *, passing: int = 0) -> list[str | Block]:
    """Return an answer as prose and blocks, in their order."""
    reader = FenceReader(passing)
    segments: list[str | Block] = []
    tag: str | None = None
    parts: list[str] = []
    for piece in (*reader.feed(text), *reader.close()):
        if piece.kind in ("open", "close"):
            segments.append(_segment(tag, parts, closed=True))
            tag, parts = (piece.text if piece.kind == "open" else None), []
        else:
            parts.append(piece.text)
    return [*segments, _segment(tag, parts, closed=False)]


def _segment(tag: str | None, parts: list[str], *, closed: bool) -> str | Block:
    text = "".join(parts)
    return text if tag is None else Block(tag, text, closed)


def fenced(text: str, tag: str = "") -> str:
    """Return text between fences that are longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{tag}\n{text}\n{fence}"


def _tag(info: str) -> str:
    """Return the language of an info string: its first word, e.g. of `python title="x"` or `{.python}`."""
    words = info.strip("{}").split()
    return words[0].lstrip(".").rstrip(",:") if words else ""
