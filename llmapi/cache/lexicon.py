"""How rare an English word is and how near two words are in meaning: the embedder's own words, made small."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ASSETS: Final = Path(__file__).parent / "assets"
UNKNOWN: Final = 1.0  # rarity of a word the list does not hold


class Lexicon:
    """Words in the order of how common they are, each with a short vector."""

    def __init__(self, words: Sequence[str], vectors: NDArray[Any]) -> None:
        self._rank = {word: rank for rank, word in enumerate(words)}
        self._vectors = vectors  # int8, one row per word
        self._scale = 1 / np.log(len(words) / 100 + 1)

    def rarity(self, word: str) -> float:
        """Return 0 for the commonest words up to 1 for rare and unknown ones."""
        rank = self._rank.get(word)
        return UNKNOWN if rank is None else float(np.log(rank / 100 + 1) * self._scale)

    def closeness(self, left: Sequence[str], right: Sequence[str]) -> NDArray[np.float32]:
        """Return the cosine of each word on the left to each on the right; unknown words are near to none."""
        return np.asarray(np.maximum(self._rows(left) @ self._rows(right).T, 0.0))

    def _rows(self, words: Sequence[str]) -> NDArray[np.float32]:
        rows = np.zeros((len(words), self._vectors.shape[1]), dtype=np.float32)
        for number, word in enumerate(words):
            if (rank := self._rank.get(word)) is not None:
                vector = self._vectors[rank].astype(np.float32)
                rows[number] = vector / np.sqrt(vector @ vector)
        return rows


@cache
def english() -> Lexicon:
    """Return the lexicon that ships with the house, loaded once."""
    held = np.load(ASSETS / "words.npz", allow_pickle=False)
    return Lexicon(str(held["words"]).split(), held["vectors"])
