"""A known question is answered from the cache; a new answer is kept once it is whole."""

from contextlib import suppress
from functools import partial

from llmapi.cache.keys import cache_key
from llmapi.core.calls import CacheWish, Call, Completion, Facts, Target
from llmapi.core.clock import Monotonic, monotonic
from llmapi.core.contracts import AnswerCache, KeptAnswer, Prices
from llmapi.core.errors import CacheMiss, LlmApiError, ProviderThrottled
from llmapi.core.kept import About
from llmapi.core.reply import Handler, Reply
from llmapi.gateway.refresh import Refresher


class Caching:
    """Answer from the cache as the call's wish allows.

    use: a kept answer, else a new one, which is kept. refresh: a new one, kept. bypass: a new one, not kept.
    only: a kept one or CacheMiss. Streamed and plain answers share one record. An answer whose time is over is given
    to those who accept that: at once, and renewed behind it, or when no new one can be had.

    recent: every whole answer of the last minutes, for calls that are sent `again` because the first answer was lost
    refresher: renews behind an answer; None: nobody does
    """

    def __init__(
        self,
        cache: AnswerCache,
        recent: AnswerCache,
        *,
        prices: Prices | None = None,
        refresher: Refresher | None = None,
        clock: Monotonic = monotonic,
    ) -> None:
        self._cache, self._recent = cache, recent
        self._prices, self._refresher, self._clock = prices, refresher, clock

    def __call__(self, call: Call, proceed: Handler) -> Reply:
        mode, key = call.cache.mode, cache_key(call)
        if call.again and (found := self._recent.get(key)) is not None:
            return answered(found)
        if mode in ("bypass", "refresh"):
            return self._watched(key, call, proceed)
        kept = found_answer(self._cache, key, call.cache)
        if kept is None and mode == "only":
            raise CacheMiss("no kept answer fits, and the call asked for nothing else")
        if kept is None:
            return self._watched(key, call, proceed)
        if self._at_once(key, call, kept):
            return answered(kept, call.cache)
        return self._rather_new(key, call, proceed, kept)

    def _rather_new(self, key: str, call: Call, proceed: Handler, kept: KeptAnswer) -> Reply:
        """Return a new answer, or the old one where none can be had."""
        try:
            return self._watched(key, call, proceed)
        except LlmApiError as error:
            if not is_outage(error):
                raise
            return answered(kept, call.cache).told(attempts=error.attempts, provider_time=error.provider_time)

    def _at_once(self, key: str, call: Call, kept: KeptAnswer) -> bool:
        """Say whether this answer is given without asking; one that is stale is renewed behind it."""
        late, wish = lateness(kept, call.cache), call.cache
        if late <= 0 or wish.mode == "only":
            return True
        if late > wish.stale_while_revalidate or call.provider_key or self._refresher is None:
            return False  # another's key is not used once he has his answer
        self._refresher(key, call)
        return True

    def _watched(self, key: str, call: Call, proceed: Handler) -> Reply:
        begun = self._clock()
        reply = proceed(call)
        if call.cache.mode == "bypass":
            as_bypass(reply)
        return reply.when_complete(partial(self._keep, key, call, reply, begun))

    def _keep(self, key: str, call: Call, reply: Reply, begun: float, answer: Completion) -> None:
        """Keep a whole good answer; of several readers of one answer the one who was not `coalesced` keeps it."""
        facts = reply.facts
        if facts.cache == "coalesced":
            return
        self._recent.put(key, answer, provider=facts.provider, model=facts.model)
        if not facts.landed and worth_keeping(call, answer):
            about = about_answer(call, answer, facts, took=self._clock() - begun, prices=self._prices)
            self._cache.put(
                key, answer, provider=facts.provider, model=facts.model, ttl=call.cache.ttl, about=about
            )


def worth_keeping(call: Call, answer: Completion) -> bool:
    """Say whether others may have this answer too."""
    whole = answer.finish in ("stop", "tool_calls") or bool(answer.vectors)
    return whole and call.cache.mode != "bypass" and call.good(answer)


def about_answer(call: Call, answer: Completion, facts: Facts, *, took: float, prices: Prices | None) -> About:
    """Return what is noted of an answer beside it."""
    cost, wish = None, call.cache
    with suppress(ArithmeticError, LookupError, TypeError, ValueError):  # a faulty price costs nobody his answer
        cost = prices.cost(Target(facts.provider, facts.model), answer.usage).nanos if prices else None
    stale = max(wish.stale_while_revalidate, wish.stale_if_error)
    return About(call.tenant, call.task, wish.tags, cost, took, stale)


def as_bypass(reply: Reply) -> Reply:
    """Let a reply say that the cache was left out, now and when it has ended; one that was joined says so itself."""

    def tell(*_: object) -> None:
        if reply.facts.cache == "miss":
            reply.told(cache="bypass")

    tell()
    return reply.when_ended(tell)


def answered(kept: KeptAnswer, wish: CacheWish = CacheWish()) -> Reply:
    """Return a kept answer as a reply."""
    facts = Facts(kept.provider, kept.model, "hit", age=kept.age, ttl=-lateness(kept, wish))
    return Reply.of(kept.completion, facts)


def lateness(kept: KeptAnswer, wish: CacheWish) -> float:
    """Return the seconds since an answer's time was over, as the call sees it; up to 0 while it is fresh."""
    return kept.age - (kept.ttl if wish.ttl is None else min(kept.ttl, wish.ttl))


def found_answer(cache: AnswerCache, key: str, wish: CacheWish) -> KeptAnswer | None:
    """Return the kept answer unless it is older than the call accepts even where nothing better can be had."""
    late = max(wish.stale_while_revalidate, wish.stale_if_error)
    kept = cache.get(key, stale=late > 0)
    return None if kept is None or lateness(kept, wish) > late else kept


def fresh_answer(cache: AnswerCache, key: str, wish: CacheWish) -> KeptAnswer | None:
    """Return the kept answer that the call would be given without asking."""
    kept = found_answer(cache, key, wish)
    if kept is None or wish.mode == "only":
        return kept
    return kept if lateness(kept, wish) <= wish.stale_while_revalidate else None


def is_outage(error: LlmApiError) -> bool:
    """Say whether a new answer could not be had for no fault of the call: then an old one may do."""
    return error.status >= 500 or isinstance(error, ProviderThrottled)
