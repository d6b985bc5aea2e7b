"""A known question is answered from the cache; a new answer is kept once it is whole."""

from functools import partial

from llmapi.cache.keys import cache_key
from llmapi.core.calls import CacheWish, Call, Completion, Facts
from llmapi.core.contracts import AnswerCache, KeptAnswer
from llmapi.core.errors import CacheMiss
from llmapi.core.reply import Handler, Reply


class Caching:
    """Answer from the cache as the call's wish allows.

    use: a kept answer, else a new one, which is kept. refresh: a new one, kept. bypass: a new one, not kept.
    only: a kept one or CacheMiss. Streamed and plain answers share one record.

    recent: every whole answer of the last minutes, for calls that are sent `again` because the first answer was lost
    """

    def __init__(self, cache: AnswerCache, recent: AnswerCache) -> None:
        self._cache = cache
        self._recent = recent

    def __call__(self, call: Call, proceed: Handler) -> Reply:
        mode, key = call.cache.mode, cache_key(call)
        if call.again and (found := self._recent.get(key)) is not None:
            return answered(found)
        if mode == "bypass":
            return self._watched(key, call, as_bypass(proceed(call)))
        kept = None if mode == "refresh" else fresh_answer(self._cache, key, call.cache)
        if kept is not None:
            return answered(kept)
        if mode == "only":
            raise CacheMiss("no kept answer fits, and the call asked for nothing else")
        return self._watched(key, call, proceed(call))

    def _watched(self, key: str, call: Call, reply: Reply) -> Reply:
        return reply.when_complete(partial(self._keep, key, call, reply))

    def _keep(self, key: str, call: Call, reply: Reply, answer: Completion) -> None:
        """Keep a whole good answer; of several readers of one answer the one who was not `coalesced` keeps it."""
        facts = reply.facts
        if facts.cache == "coalesced":
            return
        self._recent.put(key, answer, provider=facts.provider, model=facts.model)
        whole = answer.finish in ("stop", "tool_calls") or bool(answer.vectors)
        if whole and call.cache.mode != "bypass" and call.good(answer):
            self._cache.put(key, answer, provider=facts.provider, model=facts.model, ttl=call.cache.ttl)


def as_bypass(reply: Reply) -> Reply:
    """Let a reply say that the cache was left out, now and when it has ended; one that was joined says so itself."""

    def tell(*_: object) -> None:
        if reply.facts.cache == "miss":
            reply.told(cache="bypass")

    tell()
    return reply.when_ended(tell)


def answered(kept: KeptAnswer) -> Reply:
    """Return a kept answer as a reply."""
    facts = Facts(kept.provider, kept.model, "hit", age=kept.age, ttl=max(0.0, kept.ttl - kept.age))
    return Reply.of(kept.completion, facts)


def fresh_answer(cache: AnswerCache, key: str, wish: CacheWish) -> KeptAnswer | None:
    """Return the kept answer unless it is older than the call accepts."""
    kept = cache.get(key)
    if kept is None or (wish.ttl is not None and kept.age > wish.ttl):
        return None
    return kept
