"""What both fakes make of texts: tokens, pieces and vectors that can be foretold."""

import math
import re
import zlib


def tokens(text: str) -> int:
    """Count words; near enough to tokens for a fake."""
    return len(text.split())


def pieces(text: str) -> list[str]:
    """Cut a text before its spaces, as models do: "a b" -> "a", " b"."""
    return re.findall(r"\s*\S+|\s+$", text)


def vector(text: str, dimensions: int = 8) -> list[float]:
    """Return a vector of length 1 by the words of a text: texts that share words are near each other."""
    sums = [0.001] * dimensions
    for word in text.lower().split():
        sums[zlib.crc32(word.encode()) % dimensions] += 1.0
    length = math.sqrt(sum(number * number for number in sums))
    return [number / length for number in sums]
