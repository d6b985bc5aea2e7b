"""Identical calls that are under way in several processes at the same time ask upstream once, too.

Stands below Coalesce, whose leader of each process comes here. The first takes a lease and asks; the others look for
its answer. A leader that dies loses its lease, and the next takes over; what a leader brings that has lost its lease
is given to its callers and not kept. While the server of the leases is away, everybody asks for himself.
"""

import threading
from functools import partial

from llmapi.cache.keys import cache_key
from llmapi.cache.leases import Leases, Place
from llmapi.cache.record import Source
from llmapi.core.calls import Call, Completion, Facts
from llmapi.core.clock import Monotonic, monotonic
from llmapi.core.contracts import KeptAnswer, Prices
from llmapi.core.errors import CallEnded, ProviderTimeout
from llmapi.core.lifetime import Lifetime
from llmapi.core.reply import Handler, Reply
from llmapi.gateway.caching import about_answer, lateness, worth_keeping

SOON, LATER = 0.004, 0.05  # seconds between two looks, at first and in the end


class Flight:
    """Let one process ask what several want. `refresh`, `bypass` and who pays with his own key ask for themselves."""

    def __init__(self, leases: Leases, prices: Prices | None = None, clock: Monotonic = monotonic) -> None:
        self._leases, self._prices, self._clock = leases, prices, clock

    def __call__(self, call: Call, proceed: Handler) -> Reply:
        if call.cache.mode != "use" or call.provider_key:
            return proceed(call)
        key, begun = cache_key(call), self._clock()
        place = self._leases.enter(key)
        while place is not None and not place.failed:
            if (kept := usable(place, call)) is not None:
                if place.token:
                    self._leases.give_back(key, place.token)
                facts = Facts(kept.provider, kept.model, "coalesced", provider_time=self._clock() - begun)
                return Reply.of(kept.completion, facts)
            if place.token:
                return self._lead(key, place.token, call, proceed)
            place = self._follow(key, place.holder, call)
        return proceed(call)

    def _lead(self, key: str, token: str, call: Call, proceed: Handler) -> Reply:
        """Ask for all, who are told what became of it."""
        begun = self._clock()
        try:
            reply = proceed(call)
        except BaseException:
            self._leases.fail(key, token)
            raise
        reply.when_complete(partial(self._land, key, token, call, reply, begun))
        return reply.when_ended(lambda *_: None if reply.completed else self._leases.fail(key, token))

    def _land(self, key: str, token: str, call: Call, reply: Reply, begun: float, answer: Completion) -> None:
        facts = reply.facts
        about = about_answer(call, answer, facts, took=self._clock() - begun, prices=self._prices)
        source = Source(facts.provider, facts.model, call.cache.ttl)
        reply.told(landed=self._leases.land(key, token, answer, source, about, keep=worth_keeping(call, answer)))

    def _follow(self, key: str, holder: str, call: Call) -> Place | None:
        """Wait for who asks; returns his answer or his failure, one's own lease, or None when nobody can tell."""
        woken, pause = threading.Event(), SOON
        forget = call.lifetime.on_end(woken.set)
        try:
            while True:
                raise_if_over(call.lifetime)
                woken.wait(min(pause, call.lifetime.remaining()))
                place = self._leases.look(key, holder)
                if place is None or place.failed or usable(place, call) is not None:
                    return place
                if not place.holder:
                    return self._leases.enter(key)  # who asked is dead, or his answer is not for this call
                holder, pause = place.holder, min(pause * 1.5, LATER)
        finally:
            forget()


def usable(place: Place, call: Call) -> KeptAnswer | None:
    """Return the answer found, if the call may have it: not older than it accepts."""
    return None if place.kept is None or lateness(place.kept, call.cache) > 0 else place.kept


def raise_if_over(lifetime: Lifetime) -> None:
    """Raise what a caller is told whose time is over."""
    if lifetime.ended:
        raise CallEnded("the caller left while another process asked for it")
    if lifetime.remaining() <= 0:
        raise ProviderTimeout("the answer another process asked for took longer than this call had")
