"""Labels: what a caller gives, the one-token codes they are shown under, and reading them back from an answer."""

import re
import string
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmapi.core.calls import Completion
from llmapi.core.errors import UnreadableAnswer, ValidationFailed

LETTERS = string.ascii_uppercase
# Printable ASCII: one token in every vocabulary. Two-letter codes and numbers are not.
CODES = LETTERS + string.ascii_lowercase + string.digits + "#@"
MOST_LABELS = len(CODES)

LEAD = re.compile(
    r"(?:the\s+)?(?:final\s+)?(?:answer|labels?|category|class|classification)[\"'*`]*\s*(?:is\b|[:=])", re.IGNORECASE
)
CODE_AND_NAME = re.compile(r"\(?(\S)\)?\s*(?:[.):=-]\s*|\s+)(.+)", re.DOTALL)
AROUND = string.whitespace + "*`\"'“”‘’«»()[]{}"
BEHIND = AROUND + ".,;:!"


@dataclass(frozen=True, slots=True)
class Label:
    """A label as the caller spells it, what it means, and its code."""

    name: str
    description: str
    code: str


@dataclass(frozen=True, slots=True)
class Example:
    """A solved example; several names only where several labels may fit."""

    text: str
    names: tuple[str, ...]


def labels_of(labels: Sequence[str | Mapping[str, str]]) -> tuple[Label, ...]:
    """Return the labels with a code each; raises ValidationFailed naming `labels`."""
    rows = [(each, "") if isinstance(each, str) else (each["name"], each.get("description") or "") for each in labels]
    names = [name for name, _ in rows]
    if not names or len(names) > MOST_LABELS:
        raise _refused("labels", f"Send 1 to {MOST_LABELS} labels.")
    if not all(name.strip() for name in names):
        raise _refused("labels", "A label must have a name.")
    if len({_plain(name) for name in names}) < len(names):
        raise _refused("labels", "Two labels have the same name (upper and lower case do not count).")
    return tuple(Label(name, text, code) for (name, text), code in zip(rows, _codes(names), strict=True))


def examples_of(examples: Sequence[Mapping[str, Any]], labels: Sequence[Label], multi: bool) -> tuple[Example, ...]:
    """Return the examples, their labels in the spelling of `labels`; raises ValidationFailed naming `examples`."""
    known = {_plain(label.name): label.name for label in labels}
    return tuple(Example(each["text"], _known_names(each["label"], known, multi)) for each in examples)


def read_label(answer: Completion, labels: Sequence[Label]) -> str:
    """Return the label a model meant, in the caller's spelling; raises UnreadableAnswer.

    Taken: the name in any case, with quotes, brackets, markdown or a full stop around it, after `Label:` or the like,
    as its code, or as code and name together. Not taken: a label somewhere in a sentence, which may deny it.
    """
    said = answer.text.strip()
    for text in dict.fromkeys((said, said.split("\n")[0])):
        if (name := _read(text, labels)) is not None:
            return name
    raise UnreadableAnswer("The model named no label of the list.", said=answer.text[:80])


def read_labels(answer: Completion, labels: Sequence[Label], none: str) -> frozenset[str]:
    """Return every label a model named, one a line or with commas between; the word `none` alone means no label.

    raises: UnreadableAnswer when any part of the answer is neither
    """
    said = LEAD.sub("", answer.text.strip(), count=1) if LEAD.match(answer.text.strip()) else answer.text.strip()
    if _plain(said.strip(BEHIND)) == none:
        return frozenset()
    named: set[str] = set()
    for line in filter(str.strip, said.split("\n")):
        whole = _read(_without_bullet(line), labels)
        parts = [whole] if whole is not None else [_read(part, labels) for part in re.split(r"[,;]", line)]
        if None in parts:
            raise UnreadableAnswer("The model named something that is no label of the list.", said=answer.text[:80])
        named.update(part for part in parts if part is not None)
    if not named:
        raise UnreadableAnswer("The model named no label of the list.", said=answer.text[:80])
    return frozenset(named)


def same_case(labels: Sequence[Label]) -> Callable[[str], str]:
    """Return what a token must go through to be compared with codes: upper case, while all codes are capitals."""
    return str.upper if all(label.code in LETTERS for label in labels) else str


def _read(text: str, labels: Sequence[Label]) -> str | None:
    """Return the one label that a text names, the least changed reading first."""
    for reading in _readings(text):
        for likeness in (_plain, _loose):
            found = [label.name for label in labels if likeness(label.name) == likeness(reading)]
            if len(found) == 1:
                return found[0]
    return _by_code(text.strip(BEHIND), labels)


def _readings(text: str) -> Iterable[str]:
    yield text
    lead = LEAD.match(text.lstrip(AROUND))
    for body in (text, text.lstrip(AROUND)[lead.end() :] if lead else text):
        yield body.strip(AROUND)
        yield body.strip(BEHIND)


def _by_code(text: str, labels: Sequence[Label]) -> str | None:
    lead = LEAD.match(text)
    text = (text[lead.end() :] if lead else text).strip(BEHIND)
    alike = same_case(labels)
    by_code = {label.code: label.name for label in labels}
    if alike(text) in by_code:
        return by_code[alike(text)]
    if (both := CODE_AND_NAME.fullmatch(text)) is None:
        return None
    name = by_code.get(alike(both[1]))
    return name if name is not None and _plain(name) == _plain(both[2].strip(BEHIND)) else None


def _without_bullet(line: str) -> str:
    return re.sub(r"^\s*[-*•]\s+", "", line)


def _plain(name: str) -> str:
    """Return a name without its case."""
    return unicodedata.normalize("NFC", name.strip()).casefold()


def _loose(name: str) -> str:
    """Return a name without its case and without the difference between space, underscore and hyphen."""
    return re.sub(r"[\s_-]+", " ", _plain(name)).strip()


def _codes(names: Sequence[str]) -> list[str]:
    """Return a code for each: a label that looks like a code is its own, so that "B" never stands for another."""
    pool = LETTERS if len(names) <= len(LETTERS) else CODES
    same = str.upper if pool is LETTERS else str
    own = {same(name.strip()) for name in names} & set(pool)
    free = iter([code for code in pool if code not in own])
    return [same(name.strip()) if same(name.strip()) in own else next(free) for name in names]


def _known_names(label: str | Sequence[str], known: Mapping[str, str], multi: bool) -> tuple[str, ...]:
    names = (label,) if isinstance(label, str) else tuple(label)
    if not multi and len(names) != 1:
        raise _refused("examples", "An example has one label, unless several may fit.")
    for name in names:
        if _plain(name) not in known:
            raise _refused("examples", f"{name!r:.80} is not one of the labels.")
    return tuple(known[_plain(name)] for name in names)


def _refused(field: str, why: str) -> ValidationFailed:
    return ValidationFailed("The labels cannot be used." if field == "labels" else why, fields={field: [why]})
