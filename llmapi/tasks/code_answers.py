"""The code in a model's answer, without fences and without the talk around it; whole, or as it streams in.

The code is the first block that is not marked as another language; failing that, the first block; failing that, the
answer itself. Blocks are fences.py's. Where that reading does not parse and a wider one does, the wider one is taken:
a docstring may hold fence lines of its own.
"""

import re
from collections.abc import Sequence

from llmapi.core.calls import Completion
from llmapi.tasks.fences import Block, FenceReader, Piece, Trimmed, segments_of, trimmed
from llmapi.tasks.languages import canonical, language_named
from llmapi.tasks.syntax import check_syntax

# Languages in which a bare fence line can be part of a string or a comment, and in which prose does not parse.
HOLD_FENCES = frozenset({"python", "java", "c", "cpp", "c-sharp", "rust"})
MOST_WIDER = 3  # readings tried beyond the plain one
CODE_MARKS = re.compile(r"[(){}\[\];=<>\\|&$@\"]")
ONE_LINE = re.compile(r"`{3,}(?:([\w+#-]+)[ \t]+)?([^\n]+?)`{3,}")


def read_code(answer: Completion, language: str, explain: bool) -> tuple[str, str | None]:
    """Return the code, "" when there is none, and the explanation beside it (None unless wanted)."""
    segments = segments_of(answer.text)
    chosen = _chosen(segments, language)
    if chosen is None and any(isinstance(each, Block) and each.tag for each in segments):
        return "", _prose(segments) if explain else None  # the answer was cut where the code began
    if chosen is None or _is_all_code(answer.text, segments, language):
        code, prose = _bare(answer.text if chosen is not None else _without_fence_lines(segments), language)
    else:
        segments, chosen = _wider(answer.text, segments, chosen, language)
        code, prose = _code_of(segments[chosen]), _around(segments, chosen)
    return code, prose if explain else None


class Unfenced:
    """A stream's filter: passes on the code alone, in any language or as `language` when that is given.

    What comes before the first block is held back as long as it may be talk; when a line is clearly code, everything
    is passed on but fence lines. It never looks back, so where `read_code` chooses differently, the whole answer is
    right: the stream is its preview.
    """

    def __init__(self, language: str = "") -> None:
        self._language = language
        self._reader = FenceReader()
        self._trim = Trimmed()
        # before, inside or after the block; skipping the first one of another language, ignoring more; bare: no block
        self._state = "before"
        self._talk: list[str] = []  # what came before
        self._line = ""  # the unfinished line of it
        self._others: list[str] = []  # the first block of another language
        self._fenced = False  # a fence named a language, so code is in fences here

    def feed(self, text: str) -> str:
        """Return the code that is certain by now."""
        return "".join(self._take(piece) for piece in self._reader.feed(text))

    def close(self) -> str:
        """Return the rest."""
        rest = "".join(self._take(piece) for piece in self._reader.close())
        if self._state in ("before", "skipping", "ignoring"):
            instead = self._others if self._fenced or "".join(self._others).strip() else self._talk
            rest += self._trim.feed("".join(instead))
        return rest + self._trim.close(unclosed=self._state != "after")

    def _take(self, piece: Piece) -> str:
        if self._state == "bare":
            return self._trim.feed(piece.text) if piece.kind in ("prose", "code") else ""
        if piece.kind == "prose":
            return self._judge(piece.text) if self._state == "before" else ""
        self._fenced = self._fenced or bool(piece.kind == "open" and piece.text)
        if piece.kind == "open" and self._state == "before":
            other = "ignoring" if "".join(self._others).strip() else "skipping"
            self._state = "inside" if _suits(piece.text, self._language) else other
        elif piece.kind == "close" and self._state != "after":
            self._state = "after" if self._state == "inside" and self._trim.begun else "before"
        elif piece.kind == "code" and self._state == "skipping":
            self._others.append(piece.text)
        elif piece.kind == "code" and self._state == "inside":
            return self._trim.feed(piece.text)
        return ""

    def _judge(self, text: str) -> str:
        """Hold back what may be talk; once a whole line is code, and no block was seen, give all of it away."""
        self._talk.append(text)
        self._line += text
        if not text.endswith("\n"):
            return ""
        line, self._line = self._line, ""
        if self._fenced or self._others or _may_be_talk(line):
            return ""
        self._state = "bare"
        return self._trim.feed("".join(self._talk))


def _suits(tag: str, language: str) -> bool:
    marked = language_named(tag)
    return not language or marked is None or marked.name == canonical(language)


def _chosen(segments: Sequence[str | Block], language: str) -> int | None:
    """Return where the block with the code is."""
    blocks = [(at, each) for at, each in enumerate(segments) if isinstance(each, Block) and each.text.strip()]
    fitting = [at for at, block in blocks if _suits(block.tag, language)]
    return next(iter(fitting or [at for at, _ in blocks]), None)


def _code_of(segment: str | Block) -> str:
    return trimmed(segment.text, unclosed=not segment.closed) if isinstance(segment, Block) else ""


def _is_all_code(text: str, segments: Sequence[str | Block], language: str) -> bool:
    """Say whether the fences are part of code that came without any around it."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    return (
        canonical(language) in HOLD_FENCES
        and isinstance(segments[0], str)
        and segments[0].strip() != ""
        and not _is_sentence(first)
        and check_syntax(text, language).status == "verified"
    )


def _wider(
    text: str, segments: list[str | Block], chosen: int, language: str
) -> tuple[list[str | Block], int]:
    """Return the reading with the fewest inner fences that parses, or the plain one when none does."""
    if canonical(language) not in HOLD_FENCES or check_syntax(_code_of(segments[chosen]), language).status != "failed":
        return segments, chosen
    for passing in range(1, MOST_WIDER + 1):
        others = segments_of(text, passing=passing)
        other = _chosen(others, language)
        if other is not None and check_syntax(_code_of(others[other]), language).status == "verified":
            return others, other
    return segments, chosen


def _without_fence_lines(segments: Sequence[str | Block]) -> str:
    return "".join(each if isinstance(each, str) else each.text for each in segments)


def _bare(text: str, language: str) -> tuple[str, str]:
    """Return code that came without a fence, and the talk before and after it if it parses only without that."""
    code = trimmed(text, unclosed=True)
    if (one := ONE_LINE.fullmatch(text.strip())) is not None:
        tag = one[1] if one[1] is None or language_named(one[1]) else None
        return (one[2] if tag == one[1] else f"{one[1]} {one[2]}").strip(), ""
    if check_syntax(code, language).status != "failed":
        return code, ""
    parts = re.split(r"\n[ \t]*\n", code)
    start = 1 if _is_sentence(parts[0]) else 0
    end = len(parts) - 1 if _is_sentence(parts[-1]) else len(parts)
    for first, last in ((start, len(parts)), (0, end), (start, end)):
        shorter = trimmed("\n\n".join(parts[first:last]))
        if check_syntax(shorter, language).status == "verified":
            return shorter, "\n\n".join([*parts[:first], *parts[last:]]).strip()
    return code, ""


def _around(segments: Sequence[str | Block], chosen: int) -> str:
    """Return what is said after the code, else before it."""
    after, before = segments[chosen + 1 :], segments[:chosen]
    return _prose(after) or _prose(before)


def _prose(segments: Sequence[str | Block]) -> str:
    shown = [each if isinstance(each, str) else f"```{each.tag}\n{each.text.rstrip()}\n```\n" for each in segments]
    return "".join(shown).strip()


def _is_sentence(text: str) -> bool:
    """Say whether a text is clearly talk."""
    text = text.strip().strip("*_#> ")
    return text[:1].isupper() and text[-1:] in ":.!?" and len(text.split()) >= 3


def _may_be_talk(line: str) -> bool:
    return _is_sentence(line) or not CODE_MARKS.search(line)
