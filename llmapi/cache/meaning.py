"""The decision whether a kept answer serves a new question: one Meaning per namespace, numpy at run time.

    meaning = Meaning("vote", task="text")
    verdict = meaning.look(text, vector, max_error=0.01)
    if verdict.serve is not None:              # the id of the entry whose answer is to be given
        return answers[verdict.serve]
    fresh = ask_the_provider()
    same = None
    if verdict.judge is not None:              # the id of the entry the fresh answer is to be compared with
        same = judge(fresh, answers[verdict.judge])            # None when the judge could not tell
    kept = meaning.learn(verdict, entry_id, text, vector, same=same)          # text and code
    kept = meaning.learn(verdict, entry_id, text, vector, cluster=label)      # classification: no judge needed
    if kept is None: ...                       # the policy does not want the entry (vCache only)

Entries are put by learn(), or by add() when they come from elsewhere (a start, another worker, a warm-up); remove()
forgets one. The caller keeps answers, times to live and the order of eviction. state() is what the calibration learned,
in JSON's types; entries are not in it: add() them again with the cluster that learn() returned.
Not locked: the caller holds one lock per namespace around every method (look() on 10,000 entries takes about 2 ms).
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llmapi.cache.calibration import WINDOW
from llmapi.cache.fixed import Fixed
from llmapi.cache.freshness import gate
from llmapi.cache.index import Index
from llmapi.cache.index_numpy import Rows
from llmapi.cache.policies import Policy, Vector
from llmapi.cache.readings import Reading, read
from llmapi.cache.vcache import VCache
from llmapi.cache.verifier import Verifier, shipped
from llmapi.cache.vetoes import conflict
from llmapi.cache.votes import NEIGHBOURS, Clusters, Near
from llmapi.cache.voting import Voting
from llmapi.core.errors import BadSetting

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What look() decided, and why; learn() wants it back."""

    serve: str | None  # the entry whose answer may be given
    probability: float  # that this answer would be right
    similarity: float  # cosine to the nearest entry
    reason: str  # served, cold, below threshold, explore, veto:<name>, gate:<name>
    judge: str | None = None  # the entry whose answer the fresh one is worth comparing with
    entry: str | None = None  # the best entry, served or not
    ticket: Any = None  # the policy's own notes on this look


class Meaning:
    """Decides for one namespace.

    policy: vote, vcache, fixed:<threshold>, or one made elsewhere
    task: text, code or classification; what is classified is an input, not a question: neither gate nor vetoes apply
    """

    def __init__(
        self, policy: str | Policy = "vote", *, task: str = "text", gated: bool = True, vetoing: bool = True,
        index: Index | None = None, verifier: Verifier | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        asking = task != "classification"
        self._policy = open_policy(policy, seed) if isinstance(policy, str) else policy
        self._verifier = verifier or (shipped() if self._policy.verified else None)
        self._gated, self._vetoing, self._asking = gated and asking, vetoing and asking, asking
        self._index: Index = Rows() if index is None else index
        self._readings: dict[str, Reading] = {}
        self._vectors: dict[str, Vector] = {}
        self._clusters = Clusters()
        self._served: OrderedDict[str, Any] = OrderedDict()

    def __len__(self) -> int:
        """Return how many entries there are."""
        return len(self._readings)

    def look(self, text: str, vector: Vector, max_error: float, now: float = 0.0) -> Verdict:
        """Decide one request; `now` is not needed by the policies there are."""
        if self._gated and (kind := gate(text)) is not None:
            return Verdict(None, 0.0, 0.0, f"gate:{kind}")
        found = self._index.nearest(vector, NEIGHBOURS)
        if not found:
            return Verdict(None, 0.0, 0.0, "cold")
        reading = read(text)
        near = self._near(reading, found)
        choice = self._policy.decide(near, vector, self._clusters, max_error)
        entry = near.entries[choice.position]
        similarity = float(near.cosines[choice.position])
        veto = conflict(reading, self._readings[entry]) if self._vetoing else None
        if veto is not None:
            return Verdict(None, choice.probability, similarity, f"veto:{veto}", entry=entry)
        if choice.serve:
            self._remember(entry, choice.ticket)
            return Verdict(entry, choice.probability, similarity, choice.reason, entry=entry, ticket=choice.ticket)
        judge = entry if choice.judge and self._asking else None
        return Verdict(None, choice.probability, similarity, choice.reason, judge, entry, choice.ticket)

    def learn(
        self, verdict: Verdict, entry: str, text: str, vector: Vector,
        *, cluster: str | None = None, same: bool | None = None,
    ) -> str | None:  # fmt: skip
        """Learn from a fresh answer and put its entry; returns the entry's cluster, or None if it was not put."""
        if verdict.reason.startswith("gate:"):
            return None
        known = self._clusters.of(verdict.entry) if verdict.entry in self._readings and verdict.entry else None
        if same is None and cluster is not None and known is not None:
            same = cluster == known
        wanted = True
        if same is not None and verdict.ticket is not None:
            wanted = self._policy.learn(verdict.ticket, same)
        if not wanted:
            return None
        joined = cluster or (known if same and known is not None else entry)
        self.add(entry, text, vector, joined)
        return joined

    def add(self, entry: str, text: str, vector: Vector, cluster: str) -> None:
        """Put an entry that is known from elsewhere; one with the same id is replaced."""
        self.remove(entry)
        self._readings[entry] = read(text)
        self._vectors[entry] = vector
        self._clusters.put(entry, vector, cluster)
        self._index.add(entry, vector)

    def remove(self, entry: str) -> None:
        """Forget an entry; an unknown one is no error."""
        if self._readings.pop(entry, None) is None:
            return
        self._index.remove(entry)
        self._clusters.drop(entry, self._vectors.pop(entry))
        self._policy.forget(entry)
        self._served.pop(entry, None)

    def feedback(self, entry: str, good: bool) -> None:
        """Learn what a user said of the answer last served from this entry."""
        if entry in self._served:
            self._policy.feedback(self._served[entry], good)

    def state(self) -> dict[str, Any]:
        """Return what was learned, in JSON's types."""
        return {"policy": self._policy.state(), "served": list(self._served.items())}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from an earlier state() of the same policy; raises LookupError, TypeError, ValueError for another's."""
        self._policy.restore(state["policy"])
        self._served = OrderedDict((entry, ticket) for entry, ticket in state["served"])

    def _near(self, reading: Reading, found: Sequence[tuple[str, float]]) -> Near:
        entries = [entry for entry, _ in found]
        cosines = [cosine for _, cosine in found]
        scores = np.zeros((len(entries), 2))
        if self._verifier is not None:
            scores = self._verifier.scores(reading, [self._readings[entry] for entry in entries], cosines)
        return Near(entries, np.asarray(cosines), [self._clusters.of(entry) for entry in entries], scores)

    def _remember(self, entry: str, ticket: Any) -> None:
        self._served[entry] = ticket
        self._served.move_to_end(entry)
        if len(self._served) > WINDOW:
            self._served.popitem(last=False)


def restored(made: Callable[[], Meaning], state: Mapping[str, Any]) -> Meaning:
    """Return one that goes on from a state; anew where that is damaged, or of a version that weighed other things."""
    meaning = made()
    try:
        meaning.restore(state)
    except (LookupError, TypeError, ValueError) as error:
        log.warning("what was learned by meaning cannot be read, and is learned anew: %r", error)
        return made()
    return meaning


def open_policy(name: str, seed: int = 0) -> Policy:
    """Return the policy a name means; raises BadSetting."""
    kind, _, value = name.partition(":")
    try:
        if kind == "fixed" and 0 < float(value) <= 1:
            return Fixed(float(value))
    except ValueError:
        pass
    if name == "vcache":
        return VCache(seed)
    if name in ("vote", "vote:unverified"):
        return Voting(seed, verified=name == "vote")
    raise BadSetting(f"no policy of the cache by meaning is called {name!r}, known: vote, vcache, fixed:<threshold>")
