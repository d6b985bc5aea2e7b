"""Trains the weights in llmapi/cache/assets, and the same with one stream left out, so that it can judge them."""

import json
from collections.abc import Collection
from functools import cache
from typing import Any

import numpy as np

from benchmarks.semcache import trees
from benchmarks.semcache.data import KEPT, STREAMS, Stream, pairs, rows, stream, vectors
from llmapi.cache import freshness, votes
from llmapi.cache.lexicon import ASSETS, english
from llmapi.cache.pair_features import NAMES, features
from llmapi.cache.readings import read
from llmapi.cache.verifier import Verifier
from llmapi.cache.votes import Clusters, Near, vote

AROUND, TAKEN = 25, 4000  # nearest requests paired with each, pairs taken of a stream
FIRMNESS = 15.0  # labels the shipped weights are worth against those of a namespace
FALLS = (
    "numbers_differ numbers_extra units_differ names_differ literals_differ quotes_differ languages_differ"
    " formats_differ"
    " dates_differ negation antonyms polarity operators_differ operators_swapped roles unsettled reordered"
    " clause tense unlike"
    " vetoed conflicts asks_differ swap_far aligned_rare first_differs inversions odd_less count_less rarest_less"
).split()
RISES = "cosine near nothing_odd aligned_mean aligned_least literals_shared".split()
ALSO_RISES = "jaccard weighted contained longest_run trigrams functions same_words".split()  # not so among look-alikes
ALSO_FALLS = "odd_more count_more rarest_more names_extra".split()
STRICT = [1 if n in RISES + ALSO_RISES else -1 if n in FALLS + ALSO_FALLS else 0 for n in NAMES]
LOOSE = [1 if n in RISES else -1 if n in FALLS else 0 for n in NAMES]
GATE_PRIOR = {
    "now": 1, "day": 1.5, "recent": 1.5, "next": 1, "market": 1, "holder": 1.5, "left": 0.5, "will": 0.5, "mine": 1.5,
    "self": 0.5, "held": 1, "reference": 1.5, "act": 0.5, "follows": 2, "points": 1, "remake": 2, "chance": 1.5,
    "another": 1.5, "secret": 1, "explain": -1.5, "method": -2, "what": -0.3, "term": -1, "article": -0.5, "past": -1,
    "payload": -1, "translate": -1, "short": 1, "few": 1, "code": -0.8, "names": 0,
}  # fmt: skip
GATE_USUAL, ALSO_STABLE = -1.0, 0.15  # a text without any cue; weight of a request of the guard and nl2bash streams
GATE_LIMIT, GATE_FIRMNESS = 0.33, 4.0


@cache
def pair_table() -> tuple[Any, Any, Any]:
    """Return features, labels and sets of the development pairs."""
    a, b = (vectors([pair[side] for pair in pairs()]) for side in "ab")
    near = (a * b).sum(axis=1)
    table = [features(read(p["a"]), read(p["b"]), float(n), english()) for p, n in zip(pairs(), near)]
    return np.asarray(table), np.asarray([float(p["label"]) for p in pairs()]), np.asarray([p["set"] for p in pairs()])


@cache
def neighbour_table(name: str) -> tuple[Any, Any]:
    """Return features and labels of pairs of requests that stand near each other in a stream."""
    held = stream(name)
    cosines = held.vectors @ held.vectors.T
    np.fill_diagonal(cosines, -1)
    near = np.argpartition(-cosines, AROUND, axis=1)[:, :AROUND]
    places = sorted({(min(i, int(j)), max(i, int(j))) for i in range(len(near)) for j in near[i]})
    dice = np.random.default_rng(0)
    chosen = [places[at] for at in dice.choice(len(places), min(TAKEN, len(places)), replace=False)]
    readings = {at: read(held.texts[at]) for place in chosen for at in place}
    table = [features(readings[i], readings[j], float(cosines[i, j]), english()) for i, j in chosen]
    return np.asarray(table), np.asarray([float(held.classes[i] == held.classes[j]) for i, j in chosen])


@cache
def verifier(without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the verifier's weights, trained without some sets."""
    table, labels, sets = pair_table()
    mine = ~np.isin(sets, sorted(without))
    x, y, weight = table[mine], labels[mine], np.ones(mine.sum())
    sharp = trees.train(x, y, weight, trees=200, depth=4, direction=LOOSE)
    for name in STREAMS:
        if name not in without:
            more, right = neighbour_table(name)
            x, y, weight = np.r_[x, more], np.r_[y, right], np.r_[weight, np.full(len(more), 0.5)]
    return {"pairs": sharp, "neighbours": trees.train(x, y, weight, trees=150, depth=3, direction=STRICT)}


class Memory(Verifier):
    """A verifier that remembers: the same pairs come up in every replay."""

    def __init__(self, weights: Any) -> None:
        super().__init__(weights)
        self._held: dict[Any, Any] = {}

    def scores(self, question: Any, others: Any, cosines: Any) -> Any:
        mark = (question.words, question.names, question.literals)
        keys = [(mark, (other.words, other.names, other.literals)) for other in others]
        new = [at for at, key in enumerate(keys) if key not in self._held]
        if new:
            fresh = super().scores(question, [others[at] for at in new], [cosines[at] for at in new])
            self._held.update((keys[at], row) for at, row in zip(new, fresh))
        return np.stack([self._held[key] for key in keys])


@cache
def remembering(without: frozenset[str]) -> Memory:
    return Memory(verifier(without))


def vote_rows(held: Stream, judge: Verifier, seed: int, kept: float = 0.7) -> tuple[Any, Any]:
    """Return the features of each vote and whether the winner was right; a share of the requests becomes entries."""
    dice = np.random.default_rng(seed)
    clusters, x, y = Clusters(), [], []
    ids: list[int] = []
    readings = [read(text) for text in held.texts]
    for at in dice.permutation(len(held.texts)):
        cosines = held.vectors[ids] @ held.vectors[at] if ids else np.zeros(0)
        top = np.argsort(-cosines, kind="stable")[: votes.NEIGHBOURS]
        if len(top):
            places = [ids[place] for place in top]
            near_by = [float(cosines[place]) for place in top]
            scores = judge.scores(readings[at], [readings[place] for place in places], near_by)
            names = [held.classes[place] for place in places]
            won = vote(Near([str(p) for p in places], np.asarray(near_by), names, scores), held.vectors[at], clusters)
            x.append(won.row)
            y.append(float(names[won.winner] == held.classes[at]))
        if dice.random() < kept:
            ids.append(int(at))
            clusters.put(str(at), held.vectors[at], held.classes[at])
    return np.asarray(x), np.asarray(y)


@cache
def prior(without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the vote's weights; each stream's features come from a verifier that never saw the stream."""
    some = [name for name in (*STREAMS, "guard") if name not in without]
    parts = [vote_rows(stream(name), remembering(without | {name}), seed) for name in some for seed in (0, 1)]
    x, y = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    weight = np.concatenate([np.full(len(part[1]), 1000 / len(part[1])) for part in parts])
    mean, scale = x.mean(axis=0), x.std(axis=0) + 1e-6
    weights = logistic((x - mean) / scale, y, weight, np.zeros(x.shape[1] + 1), 5.0)
    round_ = [[round(float(value), 5) for value in row] for row in (mean, scale, weights)]
    return {"mean": round_[0], "scale": round_[1], "weights": round_[2], "firmness": FIRMNESS}


def logistic(x: Any, y: Any, weight: Any, start: Any, firmness: float) -> Any:
    """Return constant and weights of a logistic regression drawn to `start`."""
    lines = np.c_[np.ones(len(x)), x]
    firm = np.r_[0.01, np.full(x.shape[1], firmness)]
    weights = np.asarray(start, dtype=float)
    for _ in range(40):
        chance = trees.sigmoid(lines @ weights)
        bend = (lines * (weight * chance * (1 - chance) + 1e-9)[:, None]).T @ lines + np.diag(firm)
        slope = lines.T @ (weight * (y - chance)) - firm * (weights - start)
        weights = weights + np.clip(np.linalg.solve(bend, slope), -3, 3)
    return weights


def gate(texts: list[str], labels: list[str]) -> dict[str, Any]:
    """Return the gate's weights: expectations of each cue, moved by the data; most of two streams is stable too."""
    more = [text for name in ("guard", "nl2bash") for text in stream(name).texts[:300]]
    x = np.asarray([freshness.cues(text) for text in [*texts, *more]])
    heavy = np.r_[np.ones(len(texts)), np.full(len(more), ALSO_STABLE)]
    start = np.asarray([GATE_USUAL, *(GATE_PRIOR[name] for name in freshness.NAMES)])
    stops = np.asarray([float(label != "stable") for label in labels] + [0.0] * len(more))
    weights = {"limit": GATE_LIMIT, "stops": logistic(x, stops, heavy, start, GATE_FIRMNESS)}
    for kind in freshness.KINDS:
        mine = np.asarray([float(label == kind) for label in labels] + [0.0] * len(more))
        weights[kind] = logistic(x, mine, heavy, np.zeros(len(start)), 0.5)
    return {k: [round(float(one), 4) for one in v] if k != "limit" else v for k, v in weights.items()}


def write() -> None:
    """Train on everything and write the assets."""
    held = rows("cacheability.jsonl")
    made = {
        "verifier": verifier(),
        "vote": prior(),
        "gate": gate([row["text"] for row in held], [row["label"] for row in held]),
    }
    for name, weights in made.items():
        (ASSETS / f"{name}.json").write_text(json.dumps(weights, separators=(",", ":")) + "\n", encoding="utf-8")


def left_out(without: Collection[str]) -> tuple[Memory, dict[str, Any]]:
    """Return verifier and vote weights that saw nothing of some sets, kept on disk between runs."""
    names = frozenset(without)
    file = KEPT / f"left-out-{'-'.join(sorted(names))}.json"
    if not file.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"verifier": verifier(names), "vote": prior(names)}), encoding="utf-8")
    held = json.loads(file.read_text(encoding="utf-8"))
    return Memory(held["verifier"]), held["vote"]
