"""Answers kept by meaning: namespaces of questions, each with its decision, its index and what it has learned.

A lock per namespace stands around its decision. A server shared by all workers is asked under no lock.
"""

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from llmapi.cache.index import Growing, SharedIndex, Vector
from llmapi.cache.invalid import Invalid
from llmapi.cache.learned import Learned
from llmapi.cache.meaning import Meaning, Verdict, restored
from llmapi.cache.namespaces import DIGITS, Asked
from llmapi.cache.record import Record
from llmapi.cache.semantic_shelf import Bounds, Lying, Shelf
from llmapi.cache.shared_entries import Entry, packed, unpacked
from llmapi.cache.vetoes import vetoed
from llmapi.core.errors import LlmApiError
from llmapi.core.ids import new_id
from llmapi.core.kept import Mark

log = logging.getLogger(__name__)

SPACES: Final = 512  # namespaces a worker knows at once
FETCHED: Final = 30  # entries asked of a shared index for each question
SHOWN: Final = 10  # entries an explanation names
ENTRY: Final = re.compile(rf"kept_[0-9a-z]{{26}}_([0-9a-f]{{{DIGITS}}})")
Result = TypeVar("Result")


@dataclass(slots=True)
class Space:
    """One namespace: questions that may be compared."""

    name: str
    meaning: Meaning
    index: Growing
    asking: bool  # questions, not inputs: vetoes apply
    lock: threading.Lock = field(default_factory=threading.Lock)
    texts: dict[str, str] = field(default_factory=dict)  # text -> entry
    labels: int = 0  # learned from, in all
    saved: int = 0  # of these, known to the database


class Look(NamedTuple):
    """What was found for a question; learning from the fresh answer wants it back."""

    asked: Asked
    task: str
    vector: Vector
    verdict: Verdict
    kept: Lying | None = None  # to be served
    age: float = 0.0  # seconds it is old

    def refused(self, reason: str) -> "Look":
        """Return this look as one that serves nothing."""
        return self._replace(kept=None, age=0.0, verdict=replace(self.verdict, serve=None, reason=reason))


class Spaces:
    """The cache by meaning of one worker; safe for threads.

    learned: where states of namespaces are kept; None: a restart forgets
    shared: where the entries of all workers are; None: each has its own
    invalid: what may not be served, shared with who else looks at it
    clock: seconds since 1970
    """

    def __init__(
        self,
        policy: str = "vote",
        bounds: Bounds = Bounds(),
        *,
        learned: Learned | None = None,
        shared: SharedIndex | None = None,
        invalid: Invalid | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._policy, self._learned, self._shared, self._clock = policy, learned, shared, clock
        self._shelf = Shelf(bounds, invalid or Invalid(), clock)
        self._lock = threading.Lock()
        self._spaces: OrderedDict[str, Space] = OrderedDict()

    def look(self, asked: Asked, task: str, vector: Vector, max_error: float) -> Look:
        """Decide whether a kept answer serves a question; `task` is text, code or classification."""
        space = self._space(asked.space, task)
        for gone in self._shelf.over():
            self._let_go(gone)
        if (verdict := self._identical(space, asked.text)) is None:
            self._fetch(space, vector)
            with space.lock:
                verdict = space.meaning.look(asked.text, vector, max_error)
        return self._found(asked, task, vector, verdict)

    def learn(self, look: Look, record: Record, *, cluster: str | None = None, same: bool | None = None) -> str | None:
        """Learn from a fresh answer and keep it; returns its entry, or None when the policy wants none.

        cluster: a classification's label; same: whether the answer means what that of `verdict.judge` means
        """
        asked = look.asked
        space = self._space(asked.space, look.task)
        entry = f"{new_id('kept')}_{asked.space[-DIGITS:]}"
        if (old := space.texts.get(asked.text)) is not None:
            self.remove(old)
        with space.lock:
            joined = space.meaning.learn(look.verdict, entry, asked.text, look.vector, cluster=cluster, same=same)
            space.labels += same is not None or (cluster is not None and look.verdict.entry is not None)
            if joined is None:
                return None
            space.texts[asked.text] = entry
        self._put(Lying(entry, space.name, asked.text, record, asked.key))
        whole = Entry(asked.text, joined, look.vector, record, asked.key)
        if self._shared is not None and (kept := packed(whole)) is not None:
            self._told(self._shared.add, space.name, entry, look.vector, kept, record.ttl)
        return entry

    def find(self, entry: str) -> Lying | None:
        """Return an entry that may still be served."""
        return self._shelf.get(entry)

    def remove(self, entry: str) -> bool:
        """Forget an entry, here and on the server; returns whether it was here."""
        if (gone := self._shelf.take(entry)) is None:
            return False
        self._let_go(gone)
        if self._shared is not None:
            self._told(self._shared.remove, gone.space, entry)
        return True

    def feedback(self, tenant: str, entry: str, good: bool, evict: bool) -> bool:
        """Learn what a user said of an answer served from an entry; returns whether the tenant has such an entry."""
        if (found := ENTRY.fullmatch(entry)) is None:
            return False
        name = f"{tenant}:{found[1]}"
        lying = self._shelf.known(entry)
        if lying is None:
            elsewhere = evict and self._shared is not None and self._told(self._shared.remove, name, entry)
            return bool(elsewhere)
        if lying.space != name:
            return False
        if (space := self._spaces.get(name)) is not None:
            with space.lock:
                space.meaning.feedback(entry, good)
                space.labels += 1
        return self.remove(entry) if evict else True

    def mark(self, mark: Mark) -> None:
        """Serve nothing from now on that a mark means."""
        for lying in self._shelf.mark(mark):
            self.remove(lying.entry)

    def stats(self, tenant: str | None = None) -> dict[str, int]:
        """Return entries, bytes, namespaces and labels, of one tenant or of all."""
        mine = self._shelf.all(lambda lying: tenant in (None, lying.record.tenant))
        with self._lock:
            spaces = [each for name, each in self._spaces.items() if tenant in (None, name.rpartition(":")[0])]
        size, labels = sum(each.size for each in mine), sum(each.labels for each in spaces)
        return {"entries": len(mine), "bytes": size, "spaces": len(spaces), "labels": labels}

    def explain(
        self, asked: Asked, task: str, vector: Vector, max_error: float
    ) -> tuple[Look, list[dict[str, Any]]]:
        """Return what look() would find, and the nearest entries with the guard against each; nothing is learned."""
        space = self._space(asked.space, task)
        self._fetch(space, vector)
        with space.lock:
            before = space.meaning.state()
            verdict = space.meaning.look(asked.text, vector, max_error)
            space.meaning.restore(before)
            near = space.index.nearest(vector, SHOWN)
        found = [(lying, cosine) for entry, cosine in near if (lying := self._shelf.known(entry)) is not None]
        look = self._found(asked, task, vector, self._identical(space, asked.text) or verdict)
        return look, [self._shown(asked.text, space, *each) for each in found]

    def save(self) -> None:
        """Keep what was learned since the last time; a database that is away is asked again later."""
        if self._learned is None:
            return
        with self._lock:
            changed = [space for space in self._spaces.values() if space.labels > space.saved]
        for space in changed:
            self._save(space)

    def close(self) -> None:
        """Keep what was learned, and give the server's connections back."""
        self.save()
        if self._shared is not None:
            self._shared.close()

    def _identical(self, space: Space, text: str) -> Verdict | None:
        """Return the verdict on a question that is kept word for word."""
        if (same := space.texts.get(text)) is None or self._shelf.get(same) is None:
            return None
        return Verdict(same, 1.0, 1.0, "identical", entry=same)

    def _found(self, asked: Asked, task: str, vector: Vector, verdict: Verdict) -> Look:
        """Return what a verdict comes to now: an entry it would serve may be over."""
        if verdict.serve is None:
            return Look(asked, task, vector, verdict)
        if (lying := self._shelf.get(verdict.serve)) is None:
            return Look(asked, task, vector, Verdict(None, 0.0, verdict.similarity, "expired"))
        return Look(asked, task, vector, verdict, lying, self._age(lying))

    def _space(self, name: str, task: str) -> Space:
        with self._lock:
            if (space := self._spaces.get(name)) is not None:
                self._spaces.move_to_end(name)
                return space
        index = Growing()
        made = partial(Meaning, self._policy, task=task, gated=False, index=index)  # the gate was passed by now
        known = self._told(self._learned.load, name) if self._learned is not None else None
        labels, meaning = (0, made()) if known is None else (known[0], restored(made, known[1]))
        opened = Space(name, meaning, index, task != "classification", labels=labels, saved=labels)
        with self._lock:
            space = self._spaces.setdefault(name, opened)
            oldest = self._spaces.popitem(last=False)[1] if len(self._spaces) > SPACES else None
        if oldest is not None:
            self._close(oldest)
        return space

    def _close(self, space: Space) -> None:
        """Let go of a namespace nobody has asked in for long."""
        for entry in list(space.texts.values()):
            self._shelf.take(entry)
        if self._learned is not None and space.labels > space.saved:
            self._save(space)

    def _save(self, space: Space) -> None:
        with space.lock:
            labels, state = space.labels, space.meaning.state()
        if self._learned is not None and self._told(self._learned.save, space.name, labels, state):
            space.saved = labels

    def _put(self, lying: Lying) -> None:
        for gone in self._shelf.put(lying):
            self._let_go(gone)

    def _let_go(self, gone: Lying) -> None:
        if (space := self._spaces.get(gone.space)) is None:
            return
        with space.lock:
            space.meaning.remove(gone.entry)
            if space.texts.get(gone.text) == gone.entry:
                del space.texts[gone.text]

    def _fetch(self, space: Space, vector: Vector) -> None:
        """Bring here what the server has near a question, and let go of what it has no longer."""
        if self._shared is None:
            return
        found = self._told(self._shared.nearest, space.name, vector, FETCHED)
        if found is None:
            return
        there = {each.entry for each in found}
        with space.lock:
            stale = [entry for entry, _ in space.index.nearest(vector, SHOWN) if entry not in there]
        for entry in stale:
            if (gone := self._shelf.take(entry)) is not None:
                self._let_go(gone)
        for each in found:
            if self._shelf.known(each.entry) is None and (read := unpacked(each.payload)) is not None:
                self._adopt(space, each.entry, read)

    def _adopt(self, space: Space, name: str, entry: Entry) -> None:
        with space.lock:
            space.meaning.add(name, entry.text, entry.vector, entry.cluster)
            space.texts[entry.text] = name
        self._put(Lying(name, space.name, entry.text, entry.record, entry.key))

    def _shown(self, text: str, space: Space, lying: Lying, cosine: float) -> dict[str, Any]:
        veto = vetoed(text, lying.text) if space.asking else None
        shown = {"entry": lying.entry, "similarity": round(cosine, 4), "age_s": round(self._age(lying), 3)}
        return {**shown, "text": lying.text[:200], "model": lying.record.model, "refused": veto and f"veto:{veto}"}

    def _age(self, lying: Lying) -> float:
        return max(0.0, self._clock() - lying.record.created)

    def _told(self, ask: Callable[..., Result], *arguments: Any) -> Result | None:
        """Return what a database or server says; None while it is away: the call goes on without."""
        try:
            return ask(*arguments)
        except LlmApiError as error:
            log.warning("the cache by meaning goes on without its store: %s", error.code)
            return None
