"""What the cache would do with a request, and why; no model is asked and nothing changes."""

from collections.abc import Mapping
from typing import Any, Protocol

from llmapi.cache.keys import cache_key
from llmapi.core.calls import Call
from llmapi.core.contracts import AnswerCache, KeptAnswer
from llmapi.core.kept import Mark
from llmapi.gateway.caching import fresh_answer
from llmapi.tasks.answers import Json, rounded
from llmapi.tasks.runner import Caller, Tasks, Wanted

NO_LOOK = {"bypass": "The call leaves the cache out.", "refresh": "The call wants a new answer."}


class ByMeaning(Protocol):
    """The cache by meaning, as far as it is managed (gateway/semantic.py)."""

    def explain(self, call: Call) -> Mapping[str, Any]:
        """Return {"served", "reason", "max_error"} and, where it compared, similarity, probability and entries."""
        ...

    def feedback(self, entry: str, good: bool, evict: bool = False, *, tenant: str = "default") -> bool:
        """Learn whether an answer served from an entry was right; says whether the tenant has such an entry."""
        ...

    def stats(self, tenant: str | None = None) -> Mapping[str, Any]:
        """Return the entries and bytes of a tenant, and with {"error"} how often its answers were wrong."""
        ...

    def drop(self, mark: Mark) -> None:
        """Serve nothing from now on that a mark means."""
        ...


class Lookup:
    """Looks into the exact cache, and asks the one by meaning what it would do. Of the caller's own tenant alone."""

    def __init__(self, tasks: Tasks, cache: AnswerCache, meaning: ByMeaning) -> None:
        self._tasks, self._cache, self._meaning = tasks, cache, meaning

    def of_request(self, task: str, wanted: Wanted, caller: Caller) -> Json:
        """Return what each model call of a task would find; raises ValidationFailed."""
        calls = [self._told(call) for call in self._tasks.plan(task, wanted, caller).calls]
        return {"would_hit": bool(calls) and all(call["status"] != "miss" for call in calls), "calls": calls}

    def of_key(self, tenant: str, key: str) -> Json:
        """Return what is kept under a key; of another tenant's as of one nobody has."""
        kept = self._cache.get(key) if key.rpartition(":")[0] == tenant else None
        call = {"key": key, "status": "miss" if kept is None else "hit", "exact": exact(kept), "semantic": None}
        return {"would_hit": kept is not None, "calls": [call | {"reason": None}]}

    def age(self, task: str, wanted: Wanted, caller: Caller) -> float | None:
        """Return the age of the oldest answer a request would get from the exact cache; None if it would ask."""
        calls = self._tasks.plan(task, wanted, caller).calls
        found = [fresh_answer(self._cache, cache_key(call), call.cache) for call in calls]
        ages = [kept.age for kept in found if kept is not None]
        return max(ages) if ages and len(ages) == len(calls) else None

    def _told(self, call: Call) -> Json:
        key, mode = cache_key(call), call.cache.mode
        kept = self._cache.get(key)
        told: Json = {"key": key, "status": "miss", "reason": NO_LOOK.get(mode), "exact": exact(kept), "semantic": None}
        if mode in NO_LOOK:
            return told
        if fresh_answer(self._cache, key, call.cache) is not None:
            return {**told, "status": "hit"}
        if kept is not None:
            told["reason"] = "The kept answer is older than the call accepts."
        told["semantic"] = dict(self._meaning.explain(call))
        if told["semantic"].get("served"):
            told |= {"status": "semantic", "reason": None}
        return told


def exact(kept: KeptAnswer | None) -> Json | None:
    """Return what is known of a kept answer; not the answer."""
    if kept is None:
        return None
    about = kept.about
    return {
        "provider": kept.provider,
        "model": kept.model,
        "age_s": rounded(kept.age, 3),
        "ttl_s": rounded(max(0.0, kept.ttl - kept.age), 3),
        "took_s": rounded(about.took, 3),
        "tags": list(about.tags),
    }
