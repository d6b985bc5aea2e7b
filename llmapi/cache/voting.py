"""The default way of deciding: a vote of the ten nearest, calibrated online, spending the caller's error budget."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import numpy as np

from llmapi.cache.calibration import Calibration, Risk
from llmapi.cache.lexicon import ASSETS
from llmapi.cache.policies import Choice, Vector
from llmapi.cache.votes import Clusters, Near, vote

EXPLORED: Final = 0.05  # share of would-be hits that are asked anew, to stay calibrated where answers are served


class Voting:
    """Serves the winning answer while the expected errors stay within the bound."""

    def __init__(self, seed: int = 0, *, verified: bool = True, prior: Mapping[str, Any] | None = None) -> None:
        self.verified = verified
        self._calibration = Calibration(prior or shipped())
        self._risk = Risk()
        self._dice = np.random.default_rng(seed)

    def decide(self, near: Near, vector: Vector, clusters: Clusters, max_error: float) -> Choice:
        """Vote, weigh, and sometimes ask although it could have been served."""
        outcome = vote(near, vector, clusters)
        chance = self._calibration.probability(outcome.row)
        self._risk.add(chance)
        lowest, doubtful = self._risk.limits(max_error)
        if chance < lowest:
            return Choice(outcome.winner, chance, False, "below threshold", chance >= doubtful, [outcome.row, 1.0])
        if self._dice.random() < EXPLORED:
            return Choice(outcome.winner, chance, False, "explore", True, [outcome.row, 1 / EXPLORED])
        return Choice(outcome.winner, chance, True, "served", False, [outcome.row, 1.0])

    def learn(self, ticket: Any, same: bool) -> bool:
        """Take in a label; every fresh answer is worth an entry."""
        self._calibration.learn(ticket[0], same, ticket[1])
        return True

    def feedback(self, ticket: Any, good: bool) -> None:
        """Take in what a user said: a complaint is rarer than praise and weighs more."""
        self._calibration.learn(ticket[0], good, 1.0 if good else 1 / EXPLORED)

    def forget(self, entry: str) -> None:
        """Hold nothing about single entries."""

    def state(self) -> dict[str, Any]:
        """Return calibration and window."""
        return {"calibration": self._calibration.state(), "risk": self._risk.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from an earlier state."""
        self._calibration.restore(state["calibration"])
        self._risk.restore(state["risk"])


@cache
def shipped() -> Mapping[str, Any]:
    """Return the weights that ship, loaded once."""
    weights: Mapping[str, Any] = json.loads((ASSETS / "vote.json").read_text(encoding="utf-8"))
    return weights
