"""What a text holds, read once and kept with its entry: words, numbers, names, literals, quotes, polarity."""

import re
from dataclasses import dataclass
from typing import Final

from llmapi.cache import words

LONGEST: Final = 4000  # characters read for features
_QUOTED: Final = re.compile(
    r"\"([^\"]{1,2000})\"|“([^“”]{1,2000})”|«([^«»]{1,2000})»|`([^`]{1,2000})`|(?<!\w)'([^']{1,2000})'(?!\w)"
)
_NUMBER: Final = r"\d+(?:[.,:/]\d+)*"
_TOKEN: Final = re.compile(rf"{_NUMBER}|%|c\+\+|c#|f#|[^\W\d_]+(?:['’][^\W\d_]+)*")
_LITERAL: Final = re.compile(r"(?<![^\s,;:?!\"'`()])[^\s,;:?!\"'`()]*(?:[*$\\<>={}|&~@#_/^]|\w\.\w)[^\s,;:?!\"'`()]*")
_NAME: Final = re.compile(r"(?<=[^\s.?!:])\s+([A-Z][\w&+#-]*)|\b([A-Z]{2,}\d*|[A-Z][a-z]+[A-Z]\w*)\b")
_LATIN: Final = re.compile(r"[A-Za-z]")
_PASSIVE: Final = re.compile(
    r"\b(?:is|are|was|were|be|been|being|get|got)\b.*(?:ed|en|wn|ne|pt|nt|ht|lt|ld|ft|ade|ung|ead) by\b"
)
_ENDINGS: Final = tuple("ations ation ings ing ions ion ments ment ers ness ies ied es ed er ly s e y".split())
_MEASURES: Final = ("many", "much", "long", "old", "far", "often", "tall", "big")
_YES_NO: Final = tuple("is are do does did can should was were will has have".split())


@dataclass(frozen=True, slots=True)
class Reading:
    """A text, taken apart."""

    words: tuple[str, ...]  # every word and number in order, contractions opened
    stems: tuple[str, ...]  # of the content words, in order, numbers left out
    content: tuple[str, ...]  # the words of these stems
    functions: frozenset[str]
    operators: frozenset[str]
    numbers: tuple[str, ...]  # sorted, normalised
    units: frozenset[str]
    dates: frozenset[str]
    names: frozenset[str]
    literals: frozenset[str]
    quotes: tuple[str, ...]
    languages: frozenset[str]
    formats: frozenset[str]
    negations: int
    asks: str
    passive: bool

    @property
    def trigrams(self) -> frozenset[str]:
        """Return all three letters in a row; made anew, for kept they weigh more than all the rest."""
        joined = " ".join(self.words)
        return frozenset(joined[at : at + 3] for at in range(len(joined) - 2))


def read(text: str) -> Reading:
    """Take a text apart; about 60 us for a short question."""
    text = text[:LONGEST]
    spoken = _spoken(text)
    numbers, rest = _numbers(spoken)
    content = [word for word in rest if word[0].isalpha() and word not in words.FUNCTION_WORDS]
    return Reading(
        words=tuple(rest),
        stems=tuple(stem(word) for word in content),
        content=tuple(content),
        functions=frozenset(word for word in rest if word in words.FUNCTION_WORDS and word not in words.POLITE),
        operators=frozenset(word for word in rest if word in words.OPERATORS and word not in words.POLITE),
        numbers=tuple(sorted(numbers)),
        units=frozenset(words.UNITS[word] for word in rest if word in words.UNITS),
        dates=frozenset(word for word in rest if word in words.DAYS or word in words.MONTHS) - {"may", "march"},
        names=frozenset(name.lower() for found in _NAME.findall(text) for name in found if name and name != "I"),
        literals=frozenset(found.strip(".").lower() for found in _LITERAL.findall(text)),
        quotes=tuple(sorted(" ".join(q.split()) for found in _QUOTED.findall(text) for q in found if q.strip())),
        languages=frozenset(words.LANGUAGES[w] for w in rest if w in words.LANGUAGES and _is_language(w, text)),
        formats=frozenset(words.FORMATS[word] for word in rest if word in words.FORMATS),
        negations=sum(word in words.NEGATIONS for word in rest),
        asks=_asks(rest),
        passive=_PASSIVE.search(" ".join(rest)) is not None,
    )


def stem(word: str) -> str:
    """Cut the commonest English endings; what is left is only compared, never shown."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


def _spoken(text: str) -> list[str]:
    """Return the words in lower case with contractions opened."""
    spoken: list[str] = []
    for word in _TOKEN.findall(text.lower().replace("’", "'")):
        if word.endswith("n't"):
            spoken += [{"can't": "can", "won't": "will"}.get(word, word[:-3]), "not"]
        elif "'" in word:
            spoken += word.split("'")
        elif word == "cannot":
            spoken += ["can", "not"]
        else:
            spoken.append(word)
    return spoken


def _numbers(spoken: list[str]) -> tuple[list[str], list[str]]:
    """Return the numbers as digits, and the words with each number in its place."""
    numbers: list[str] = []
    rest: list[str] = []
    value: float | None = None
    for word in [*spoken, ""]:
        if word in words.NUMBER_WORDS:
            value = (value or 0) + words.NUMBER_WORDS[word]
            continue
        if word in words.SCALES and (value is not None or (rest and rest[-1] in ("a", "one"))):
            value = (value or 1) * words.SCALES[word]
            continue
        if value is not None:
            numbers.append(f"{value:g}")
            rest.append(f"{value:g}")
            value = None
        if word[:1].isdigit():
            numbers.append(_plain(word))
            rest.append(_plain(word))
        elif word:
            rest.append(word)
    return numbers, rest


def _plain(number: str) -> str:
    """Write a number one way: 1,000 and 1000, 1.50 and 1.5, 07 and 7."""
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", number):
        number = number.replace(",", "")
    if re.fullmatch(r"\d+\.\d+", number):
        return number.rstrip("0").rstrip(".")
    return number.lstrip("0") or "0"


def _is_language(word: str, text: str) -> bool:
    """Tell C, R and Go from letters and verbs by how they are written."""
    if word in ("c", "r"):
        return re.search(rf"(?<![\w'.*-]){word.upper()}(?![\w'#+.*])", text) is not None
    return True


def _asks(spoken: list[str]) -> str:
    """Name what is asked for: a reason, a time, an amount, yes or no, ..."""
    for at, word in enumerate(spoken[:8]):
        if word in words.ASKS:
            after = spoken[at + 1] if at + 1 < len(spoken) else ""
            return f"how {after}" if word == "how" and after in _MEASURES else word
    first = spoken[0] if spoken else ""
    return "whether" if first in _YES_NO else ""
