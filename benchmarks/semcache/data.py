"""The development data, its vectors (kept outside the repository) and the folds nothing leaks between."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
KEPT = Path(tempfile.gettempdir()) / "llmapi-semcache"
STREAMS = ("clinc150", "hwu64", "nl2bash")  # those of at least 1,000 requests
SETS = ("guard", "checklist", "nl2bash", "hwu64", "clinc150")
FOLDS, SEED = 5, 7


@dataclass(frozen=True)
class Stream:
    name: str
    task: str
    texts: list[str]
    classes: list[str]
    vectors: Any


def rows(name: str) -> list[dict[str, Any]]:
    """Return the rows of a data file."""
    return [json.loads(line) for line in (HERE / "data" / name).read_text(encoding="utf-8").splitlines()]


@cache
def pairs() -> list[dict[str, Any]]:
    return rows("pairs.jsonl")


@cache
def stream(name: str) -> Stream:
    """Return one stream in its written order."""
    held = [row for row in rows("streams.jsonl") if row["stream"] == name]
    texts = [row["text"] for row in held]
    return Stream(name, held[0]["task"], texts, [row["cls"] for row in held], vectors(texts))


def vectors(texts: Sequence[str]) -> Any:
    """Return the vectors of texts of the data."""
    place, matrix = embedded()
    return matrix[[place[text] for text in texts]]


@cache
def embedded() -> tuple[dict[str, int], Any]:
    """Return where each text's vector is; embeds everything once (about a minute) and keeps it."""
    texts = sorted({pair[side] for pair in pairs() for side in "ab"} | {row["text"] for row in rows("streams.jsonl")})
    mark = blake2b("\0".join(texts).encode(), digest_size=8).hexdigest()
    file = KEPT / f"vectors-{mark}.npy"
    if not file.exists():
        from llmapi.providers.embeddings import MiniLM

        model = MiniLM(keep=1, parallel=1)
        some = [np.asarray(model.embed(texts[at : at + 256]), dtype=np.float32) for at in range(0, len(texts), 256)]
        KEPT.mkdir(parents=True, exist_ok=True)
        np.save(file, np.concatenate(some))
    return {text: at for at, text in enumerate(texts)}, np.load(file)


def folds(by_template: bool) -> Any:
    """Return a fold per pair; texts of one class, or joined by a pair, stand in one fold.

    by_template: a whole CheckList template stands in one fold, so its like was never seen in training
    """
    classes = {(row["stream"], row["text"]): row["cls"] for row in rows("streams.jsonl")}
    above: dict[Any, Any] = {}

    def root(key: Any) -> Any:
        above.setdefault(key, key)
        while above[key] != key:
            key = above[key]
        return key

    def key(pair: dict[str, Any], side: str) -> Any:
        if by_template and pair["set"] == "checklist":
            return "checklist", pair["cat"]
        return classes.get((pair["set"], pair[side]), (pair["set"], pair[side]))

    for pair in pairs():
        if pair["label"] or pair["set"] in ("checklist", "guard"):
            above[root(key(pair, "a"))] = root(key(pair, "b"))
    groups = [str(root(key(pair, "a"))) for pair in pairs()]
    names = sorted(set(groups))
    np.random.default_rng(SEED).shuffle(names)
    number = {name: at % FOLDS for at, name in enumerate(names)}
    return np.asarray([number[group] for group in groups])
