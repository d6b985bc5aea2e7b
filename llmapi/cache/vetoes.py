"""What must agree before one answer may serve two questions: payload, numbers, dates, units, negation, formats."""

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
    return not any(opposed(x, y) for x in only_a for y in only_b)


def opposed(x: str, y: str) -> bool:
    """Say whether two words are antonyms by the list, by a prefix or by -ful and -less."""
    if (x, y) in words.ANTONYMS or x.replace("ful", "less") == y or y.replace("ful", "less") == x:
        return True
    return any(x == p + y or y == p + x for p in words.PREFIXES)
