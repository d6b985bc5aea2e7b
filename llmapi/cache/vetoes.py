"""What must agree before one answer may serve two questions: payload, numbers, dates, units, negation, formats."""

from collections.abc import Set

from llmapi.cache import words
from llmapi.cache.readings import Reading, read


def vetoed(a: str, b: str) -> str | None:
    """Return the name of the first veto against sharing an answer, or None."""
    return conflict(read(a), read(b))


def conflict(a: Reading, b: Reading) -> str | None:
    """Return the first veto of two readings, or None."""
    for name in ("quotes", "numbers", "dates", "units", "languages", "formats"):
        if getattr(a, name) != getattr(b, name):
            return name
    return "negation" if _turned(a, b) else None


def _turned(a: Reading, b: Reading) -> bool:
    """Say whether one side is negated and no antonym on the other makes up for it."""
    if a.negations % 2 == b.negations % 2:
        return False
    only_a = set(a.words) - set(b.words) - words.NEGATIONS
    only_b = set(b.words) - set(a.words) - words.NEGATIONS
    return not opposites(only_a, only_b)


def opposites(left: Set[str], right: Set[str]) -> int:
    """Count the pairs of antonyms, one word on each side; no word by word, for long texts have thousands of pairs."""
    lessened: dict[str, set[str]] = {}
    for word in right:
        if "ful" in word:
            lessened.setdefault(word.replace("ful", "less"), set()).add(word)
    return sum(len(right & antonyms(word) | lessened.get(word, set())) for word in left)


def antonyms(word: str) -> set[str]:
    """Return what would be a word's antonyms by the list, by a prefix or by -ful and -less."""
    found = {prefix + word for prefix in words.PREFIXES} | words.ANTONYMS.get(word, frozenset())
    found |= {word.removeprefix(prefix) for prefix in words.PREFIXES if word.startswith(prefix)}
    return found | ({word.replace("ful", "less")} if "ful" in word else set())
