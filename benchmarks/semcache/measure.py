"""What `python -m benchmarks.semcache` measures: pairs, gate, streams, speed."""

import resource
import time
from typing import Any

import numpy as np

from benchmarks.semcache import train, trees
from benchmarks.semcache.data import FOLDS, SEED, SETS, STREAMS, folds, rows, stream
from benchmarks.semcache.replay import Setup, replay, shares
from llmapi.cache.freshness import Gate
from llmapi.cache.meaning import Meaning
from llmapi.cache.verifier import Trees
from llmapi.cache.voting import Voting

PARTINGS = 3
BOUNDS = (0.01, 0.02, 0.05)
FIXED = (0.75, 0.8, 0.85, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98)


def setups() -> list[Setup]:
    """Return every way of deciding that is compared."""
    made = [Setup(f"fixed {cut}", f"fixed:{cut}", 1.0, seeds=1) for cut in FIXED]
    made += [Setup("vCache", "vcache", bound) for bound in BOUNDS]
    made += [Setup("vote", "vote", bound) for bound in BOUNDS]
    made += [Setup("vote, judge errs 5 %", "vote", bound, noise=0.05) for bound in BOUNDS]
    made += [Setup("vote without verifier", "vote", 0.01, verified=False, seeds=1)]
    made += [Setup("vote with vetoes", "vote", 0.01, vetoing=True, seeds=1)]
    return [*made, Setup("vote with vetoes and gate", "vote", 0.01, vetoing=True, gated=True, seeds=1)]


def auc(labels: Any, scores: Any) -> float:
    """Return the area under the ROC curve; ties count half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    right = labels == 1
    return float((ranks[right].sum() - right.sum() * (right.sum() + 1) / 2) / (right.sum() * (~right).sum()))


def recall_at(labels: Any, scores: Any, precision: float) -> float:
    """Return the highest recall at which the precision is still reached."""
    ordered = labels[np.argsort(-scores, kind="stable")]
    found = np.cumsum(ordered)
    enough = np.flatnonzero(found / np.arange(1, len(ordered) + 1) >= precision)
    return float(found[enough[-1]] / ordered.sum()) if len(enough) else 0.0


def pairs() -> dict[str, Any]:
    """Return how well pairs are told apart, each judged by trees that did not see its fold."""
    table, labels, sets = train.pair_table()
    found = {"cosine": _told(labels, table[:, 0], sets)}
    for name, by_template in (("verifier", False), ("verifier, unseen templates", True)):
        fold, scores = folds(by_template), np.zeros(len(labels))
        for number in range(FOLDS):
            out = fold == number
            grown = trees.train(
                table[~out], labels[~out], np.ones((~out).sum()), trees=200, depth=4, direction=train.LOOSE
            )
            scores[out] = Trees(**grown).raw(table[out])
        found[name] = _told(labels, scores, sets)
    return found


def _told(labels: Any, scores: Any, sets: Any) -> dict[str, float]:
    by_set = {name: auc(labels[sets == name], scores[sets == name]) for name in SETS}
    return {"auc": auc(labels, scores), "recall_at_95": recall_at(labels, scores, 0.95), **by_set}


def gate() -> dict[str, Any]:
    """Return what the gate holds back, cross-validated in twenty parts, mean of three partings."""
    held = rows("cacheability.jsonl")
    texts, labels = [row["text"] for row in held], np.asarray([row["label"] for row in held])
    stopped = np.zeros((PARTINGS, len(held)))
    for seed in range(PARTINGS):
        order = np.random.default_rng(SEED + seed).permutation(len(held))
        for part in range(20):
            out = set(order[part::20].tolist())
            kept = [at for at in range(len(held)) if at not in out]
            judge = Gate(train.gate([texts[at] for at in kept], [str(labels[at]) for at in kept]))
            for at in out:
                stopped[seed, at] = judge(texts[at]) is not None
    return {name: float(stopped[:, labels == name].mean()) for name in sorted(set(labels))} | {
        "not stable, bypassed": float(stopped[:, labels != "stable"].mean()),
        "stable, lost": float(stopped[:, labels == "stable"].mean()),
    }


def streams() -> list[dict[str, Any]]:
    """Return shares of each setup on each stream, decided by weights that never saw the stream."""
    found = []
    for name in STREAMS:
        verifier, prior = train.left_out([name])
        held = stream(name)
        for setup in setups():
            outcomes = []
            for seed in range(setup.seeds):
                policy = Voting(seed, verified=setup.verified, prior=prior) if setup.policy == "vote" else setup.policy
                meaning = Meaning(
                    policy, task=held.task, gated=setup.gated, vetoing=setup.vetoing, seed=seed,
                    verifier=verifier if setup.policy == "vote" and setup.verified else None,
                )  # fmt: skip
                outcomes.append(replay(held, meaning, setup, seed))
            found.append({"stream": name, "setup": setup.name, "max_error": setup.max_error, **shares(outcomes)})
            told = {key: round(found[-1][key], 4) for key in ("correct", "wrong", "judged")}
            print(name, setup.name, setup.max_error, told, flush=True)
    return found


def speed(sizes: tuple[int, ...] = (1000, 10_000, 100_000)) -> list[dict[str, float]]:
    """Return what look() costs without embedding, and what the entries weigh."""
    held, dice, found = stream("clinc150"), np.random.default_rng(0), []
    for size in sizes:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        meaning = Meaning(gated=False)  # else most of these questions end at the gate
        for number in range(size):
            at = number % len(held.texts)
            vector = held.vectors[at] + dice.normal(size=384).astype(np.float32) * 0.02
            meaning.add(str(number), held.texts[at], vector / np.linalg.norm(vector), str(number))
        spans = []
        for at in range(300):
            start = time.perf_counter()
            meaning.look(held.texts[at], held.vectors[at], 0.01)
            spans.append((time.perf_counter() - start) * 1000)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        middle, late = float(np.median(spans)), float(np.quantile(spans, 0.95))
        found.append({"entries": size, "p50_ms": middle, "p95_ms": late, "mb": grown})
    return found
