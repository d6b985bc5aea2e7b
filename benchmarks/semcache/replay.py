"""Lets one policy decide one stream, the way the service would, and counts what came of it."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.semcache.data import Stream
from llmapi.cache.calibration import WINDOW
from llmapi.cache.meaning import Meaning


@dataclass(frozen=True)
class Setup:
    """One way of deciding, by name."""

    name: str
    policy: str
    max_error: float
    verified: bool = True
    vetoing: bool = False  # the streams' classes count requests as equal that no veto lets pass
    gated: bool = False
    noise: float = 0.0  # share of wrong answers of the judge
    seeds: int = 3


@dataclass
class Outcome:
    """Counts over one replay."""

    requests: int = 0
    correct: int = 0
    wrong: int = 0
    judged: int = 0
    refused: int = 0  # by gate or veto
    worst: float = 0.0  # highest wrong share of any window of 1,500 requests


def replay(stream: Stream, meaning: Meaning, setup: Setup, seed: int) -> Outcome:
    """Return what came of a stream in a shuffled order."""
    dice = np.random.default_rng(1000 + seed)
    done = Outcome(requests=len(stream.texts))
    classes: dict[str, str] = {}
    errors: list[int] = []
    for at in np.random.default_rng(seed).permutation(len(stream.texts)):
        text, vector, truth = stream.texts[at], stream.vectors[at], stream.classes[at]
        verdict = meaning.look(text, vector, setup.max_error)
        errors.append(0)
        if verdict.serve is not None:
            right = classes[verdict.serve] == truth
            done.correct += right
            done.wrong += not right
            errors[-1] = int(not right)
            continue
        done.refused += verdict.reason.startswith(("gate:", "veto:"))
        entry = str(at)
        classes[entry] = truth
        cluster, same = None, None
        if stream.task == "classification":
            cluster = truth if setup.noise == 0 or dice.random() >= setup.noise else str(dice.choice(stream.classes))
        elif verdict.judge is not None:
            done.judged += 1
            same = (classes[verdict.judge] == truth) != (dice.random() < setup.noise)
        meaning.learn(verdict, entry, text, vector, cluster=cluster, same=same)
    sums = np.convolve(errors, np.ones(min(WINDOW, len(errors))), mode="valid")
    done.worst = float(sums.max() / min(WINDOW, len(errors)))
    return done


def wilson(count: float, total: float) -> tuple[float, float]:
    """Return the 95 % interval of a share."""
    z = 1.96
    share = count / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    wide = z * float(np.sqrt(share * (1 - share) / total + z * z / (4 * total * total))) / (1 + z * z / total)
    return max(0.0, middle - wide), middle + wide


def shares(outcomes: list[Outcome]) -> dict[str, Any]:
    """Return mean shares over replays; intervals by one replay, as orders of one stream are not independent."""
    total = outcomes[0].requests
    mean = {key: float(np.mean([value[key] for value in map(asdict, outcomes)])) for key in asdict(outcomes[0])}
    found: dict[str, Any] = {key: mean[key] / total for key in ("correct", "wrong", "judged", "refused")}
    found["correct_95"], found["wrong_95"] = wilson(mean["correct"], total), wilson(mean["wrong"], total)
    found["wrong_of_each_seed"] = [one.wrong / total for one in outcomes]
    found["worst_window"] = max(one.worst for one in outcomes)
    return found
