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
    """

    def __init__(self, cache: AnswerCache) -> None:
        self._cache = cache

    def __call__(self, call: Call, proceed: Handler) -> Reply:
        mode = call.cache.mode
        if mode == "bypass":
            return proceed(call).told(cache="bypass")
        key = cache_key(call)
        kept = None if mode == "refresh" else fresh_answer(self._cache, key, call.cache)
        if kept is not None:
            facts = Facts(kept.provider, kept.model, "hit", age=kept.age, ttl=max(0.0, kept.ttl - kept.age))
            return Reply.of(kept.completion, facts)
        if mode == "only":
            raise CacheMiss("no kept answer fits, and the call asked for nothing else")
        reply = proceed(call)
        return reply.when_complete(partial(self._keep, key, call, reply))

    def _keep(self, key: str, call: Call, reply: Reply, answer: Completion) -> None:
        """Keep a whole good answer; of several readers of one answer the one who was not `coalesced` keeps it."""
        whole = answer.finish == "stop" or bool(answer.vectors)
        if whole and reply.facts.cache != "coalesced" and call.good(answer):
            facts = reply.facts
            self._cache.put(key, answer, provider=facts.provider, model=facts.model, ttl=call.cache.ttl)


def fresh_answer(cache: AnswerCache, key: str, wish: CacheWish) -> KeptAnswer | None:
    """Return the kept answer unless it is older than the call accepts."""
    kept = cache.get(key)
    if kept is None or (wish.ttl is not None and kept.age > wish.ttl):
        return None
    return kept
