"""A question of the same meaning is answered from the cache, for those who accept a share of wrong answers.

Two stages of one thing. `terms` stands above the exact cache: what changes by itself is kept there for a short time
only, and who takes nothing but a kept answer gets one by meaning when there is none to the very question. The other
stands below: it looks, and learns from the fresh answer once that is whole, never delaying who reads it.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

from llmapi.cache.invalid import Invalid
from llmapi.core.calls import Call, Completion, Facts
from llmapi.core.contracts import Embedder
from llmapi.core.errors import CacheMiss, ProviderUnavailable
from llmapi.core.events import KEPT
from llmapi.core.kept import About, Mark
from llmapi.core.reply import Handler, Reply
from llmapi.gateway.checked import Checked
from llmapi.gateway.learning import Judging, Learning, label_of
from llmapi.gateway.semantic_rules import KINDS, Rules

if TYPE_CHECKING:  # numpy comes with the first question by meaning
    from llmapi.cache.namespaces import Asked
    from llmapi.cache.semantic import Look, Spaces

EXPLORED: Final = "explore"  # would have been served, but for a dice
LONGEST: Final = 2000  # characters of a question that is compared: the embedder reads 256 tokens, the rest decides too


class Served(Exception):
    """An answer by meaning on its way up, past the exact cache, which must not take it for one to this question."""

    def __init__(self, reply: Reply) -> None:
        super().__init__("served by meaning")
        self.reply = reply


class Semantic:
    """The cache by meaning as the gateway sees it; everything heavy is loaded with the first question by meaning.

    open_spaces, open_embedder: make what is needed then
    judge: compares answers (tasks/judge.py); given after the gateway is built, through which it asks
    judge_share: most judge calls, as a share of a tenant's requests by meaning
    clock: seconds since 1970
    """

    def __init__(
        self,
        open_spaces: Callable[[], "Spaces"],
        open_embedder: Callable[[], Embedder],
        rules: Rules = Rules(),
        *,
        judge: Judging | None = None,
        judge_share: float = 0.45,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._open_spaces, self._open_embedder, self._rules, self._clock = open_spaces, open_embedder, rules, clock
        self._opening = threading.Lock()
        self._spaces: Spaces | None = None
        self._early = Invalid()  # heard before there were spaces, which may be shared
        self._embedder: Embedder | None = None
        self._gate = lru_cache(1024)(_gated)
        self._judge: Judging | None = judge
        self._judge_share = judge_share
        self._learning: Learning | None = None
        self._checked = Checked()

    def judged_by(self, judge: Judging) -> None:
        """Take the judge; before the first question."""
        self._judge = judge

    def terms(self, call: Call, proceed: Handler) -> Reply:
        """Above the exact cache: shorten what it keeps of volatile questions, look when it alone may answer."""
        bound = self._rules.bound(call)
        if not bound:
            return proceed(call)
        asked = _asked(call)
        reason = self._refused(call, asked)
        if reason == "gate:volatile":
            limit, ttl = self._rules.volatile_ttl, call.cache.ttl
            call = replace(call, cache=replace(call.cache, ttl=limit if ttl is None else min(ttl, limit)))
        try:
            return proceed(call)
        except Served as served:
            return served.reply
        except CacheMiss as miss:
            if call.cache.mode != "only":
                raise
            return self._only(call, asked, bound, reason, miss)

    def __call__(self, call: Call, proceed: Handler) -> Reply:
        """Below the exact cache: raise Served, or let the call go on and learn from its answer."""
        bound = self._rules.bound(call)
        if not bound:
            return proceed(call)
        asked = _asked(call)
        reason = self._refused(call, asked)
        look = None if reason or asked is None else self._look(call, asked, bound)
        if look is None:
            return proceed(call).told(reason=reason or "no embedder")
        if look.kept is not None and call.cache.mode != "refresh":
            raise Served(_served(look))
        started = self._clock()
        reply = proceed(call)
        told = look.verdict
        reply.told(similarity=told.similarity or None, probability=told.probability or None, reason=told.reason)
        return reply.when_complete(partial(self._learn, call, look, reply, started))

    def explain(self, call: Call) -> dict[str, Any]:
        """Return what would be done with a call, and the nearest entries; nothing is learned, no model is asked.

        The bound is the call's, its task's or its tenant's; 0.01 where nobody asks for answers by meaning.
        """
        wanted, asked = self._rules.bound(call), _asked(call)
        told: dict[str, Any] = {"max_error": wanted or None, "served": False, "entries": []}
        if call.task not in KINDS:
            return {**told, "reason": "task"}
        if (reason := self._refused(call, asked)) or asked is None:
            return {**told, "reason": reason}
        try:
            vector, spaces = self._vector(asked.text), self._loaded()
        except ProviderUnavailable:
            return {**told, "reason": "no embedder"}
        look, entries = spaces.explain(asked, KINDS[call.task], vector, wanted or 0.01)
        look = _for(call, look)
        verdict, served = look.verdict, bool(wanted) and look.kept is not None
        shown = {"similarity": round(verdict.similarity, 4), "probability": round(verdict.probability, 4)}
        return {**told, **shown, "served": served, "entry": verdict.entry, "reason": verdict.reason, "entries": entries}

    def feedback(self, entry: str, good: bool, evict: bool = False, *, tenant: str = "default") -> bool:
        """Learn what a user said of an answer served from an entry; returns whether the tenant has such an entry."""
        return self._loaded().feedback(tenant, entry, good, evict)

    def stats(self, tenant: str | None = None) -> dict[str, Any]:
        """Return one tenant's or all entries, bytes, namespaces, labels, judge calls and errors, of this worker."""
        nothing = {"entries": 0, "bytes": 0, "spaces": 0, "labels": 0}
        found = nothing if self._spaces is None else self._spaces.stats(tenant)
        judged = self._learning.judged(tenant) if self._learning else 0
        return {**found, "judged": judged, "error": self._checked.error(tenant)}

    def drop(self, mark: Mark) -> None:
        """Serve nothing from now on that a mark means."""
        with self._opening:
            if self._spaces is None:
                self._early.add([mark])
            else:
                self._spaces.mark(mark)

    def drain(self, grace: float) -> None:
        """A stop was asked for; nothing here waits."""

    def close(self) -> None:
        """Begin no comparison more, and keep what was learned."""
        if self._learning is not None:
            self._learning.close()
        if self._spaces is not None:
            self._spaces.close()

    def _only(self, call: Call, asked: "Asked | None", bound: float, reason: str, miss: CacheMiss) -> Reply:
        look = None if reason or asked is None else self._look(call, asked, bound)
        if look is not None and look.kept is not None:
            return _served(look)
        miss.details["reason"] = reason or (look.verdict.reason if look else "no embedder")
        raise miss

    def _refused(self, call: Call, asked: "Asked | None") -> str:
        """Return why a call gets no answer by meaning, whatever is kept, or "" """
        if asked is None:
            return "context"
        if against := self._rules.against(call):
            return against
        if not asked.text or len(asked.text) > LONGEST:
            return "long" if asked.text else "empty"
        return "" if call.task == "classify" else self._gate(asked.text)

    def _look(self, call: Call, asked: "Asked", bound: float) -> "Look | None":
        """Return what is kept near a question; None without an embedder."""
        try:
            vector, spaces = self._vector(asked.text), self._loaded()
        except ProviderUnavailable:
            return None
        if self._learning is not None:
            self._learning.asked(call)
        return _for(call, spaces.look(asked, KINDS[call.task], vector, bound))

    def _learn(self, call: Call, look: "Look", reply: Reply, started: float, answer: Completion) -> None:
        """Take in a whole good answer, once, though several may read it."""
        facts, classified = reply.facts, call.task == "classify"
        if facts.cache in KEPT or self._learning is None or not (answer.finish == "stop" or classified):
            return
        if not call.good(answer):
            return
        from llmapi.cache.record import Source, recorded

        spaces, now = self._loaded(), self._clock()
        ttl = self._rules.ttl if call.cache.ttl is None else min(call.cache.ttl, self._rules.ttl)
        about = About(call.tenant, call.task, call.cache.tags, took=now - started)
        record = recorded(answer, Source(facts.provider, facts.model), about, created=now, ttl=ttl)
        if classified:
            label = label_of(answer)
            if look.verdict.reason == EXPLORED and (kept := spaces.find(look.verdict.entry or "")) is not None:
                self._checked.note(call.tenant, label_of(kept.record.completion) == label)
            spaces.learn(look, record, cluster=label)
            return
        kept = spaces.find(look.verdict.judge) if look.verdict.judge else None
        if kept is None:
            spaces.learn(look, record)
            return
        pairs = (kept.text, kept.record.completion.text), (look.asked.text, answer.text)
        self._learning.compare(call, *pairs, lambda same: self._learned(call, look, record, same))

    def _learned(self, call: Call, look: "Look", record: Any, same: bool | None) -> None:
        if same is not None and look.verdict.reason == EXPLORED:
            self._checked.note(call.tenant, same)
        self._loaded().learn(look, record, same=same)

    def _vector(self, text: str) -> Any:
        import numpy

        if self._embedder is None:
            with self._opening:
                self._embedder = self._embedder or self._open_embedder()
        return numpy.asarray(self._embedder.embed([text])[0], dtype=numpy.float32)

    def _loaded(self) -> "Spaces":
        if self._spaces is None:
            with self._opening:
                if self._spaces is None:
                    spaces = self._open_spaces()
                    self._learning = Learning(self._judge, self._judge_share, spaces.save)
                    for mark in self._early.every():
                        spaces.mark(mark)
                    self._spaces = spaces
        return self._spaces


def _asked(call: Call) -> "Asked | None":
    from llmapi.cache.namespaces import asked_of

    return asked_of(call)


def _for(call: Call, look: "Look") -> "Look":
    """Return what was found, if the call accepts an answer as old."""
    oldest = call.cache.ttl
    return look.refused("too old") if look.kept and oldest is not None and look.age > oldest else look


def _gated(text: str) -> str:
    """Return why a question must not get another one's answer, or "" """
    from llmapi.cache.freshness import gate

    kind = gate(text)
    return f"gate:{kind}" if kind else ""


def _served(look: "Look") -> Reply:
    assert look.kept is not None
    record, verdict = look.kept.record, look.verdict
    facts = Facts(
        record.provider,
        record.model,
        "semantic",
        age=look.age,
        ttl=max(0.0, record.ttl - look.age),
        similarity=verdict.similarity,
        probability=verdict.probability,
        kept=look.kept.entry,
        reason=verdict.reason,
    )
    return Reply.of(record.completion, facts)
