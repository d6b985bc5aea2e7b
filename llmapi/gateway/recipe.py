"""The order of the stages, and the reason for each place."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from llmapi.cache.memory import MemoryCache
from llmapi.core.clock import Monotonic, monotonic, utc_now
from llmapi.core.contracts import AnswerCache, Bus, Prices, Provider
from llmapi.core.reply import Handler
from llmapi.gateway.ask import ask_providers
from llmapi.gateway.balance import Balancer
from llmapi.gateway.breaker import Breakers
from llmapi.gateway.caching import Caching
from llmapi.gateway.coalesce import Coalesce
from llmapi.gateway.overload import Gates
from llmapi.gateway.pipeline import Stage, compose
from llmapi.gateway.refresh import Refresher
from llmapi.gateway.retry import Nap, Retry, nap
from llmapi.gateway.retry_budget import RetryBudget
from llmapi.gateway.route import Route, StoredKeys, none_stored
from llmapi.gateway.semantic import Semantic
from llmapi.gateway.telemetry import Telemetry

RECENT = 256  # last answers a worker can give again to a client that lost them
RECENT_TIME = 120.0  # seconds; the official SDK has repeated a call by then, or given it up


@dataclass(frozen=True, slots=True)
class Guards:
    """What keeps calls from a provider in trouble; shared by all calls of a process."""

    breakers: Breakers
    gates: Gates
    budget: RetryBudget


def build_gateway(
    *,
    providers: Mapping[str, Provider],
    cache: AnswerCache,
    bus: Bus,
    prices: Prices,
    guards: Guards | None = None,
    budgeting: Stage | None = None,
    quota: Stage | None = None,
    semantic: Semantic | None = None,
    keys: StoredKeys = none_stored,
    attempts: int = 3,
    base: float = 0.5,
    cap: float = 8.0,
    sleep: Nap = nap,
    jitter: Callable[[], float] = random.random,
    clock: Monotonic = monotonic,
    now: Callable[[], datetime] = utc_now,
) -> Handler:
    """Return the handler that takes a call through every stage to its provider and the reply back.

    quota, semantic: hold what a call may use, answer questions of the same meaning; None: nobody does
    keys: what tenants have stored to be used instead of the operator's
    attempts, base, cap: how often a candidate is asked in all, and the first and the longest backoff in seconds
    sleep, jitter, clock, now: time and chance, replaced by tests
    """
    guard = guards or Guards(Breakers(bus, clock=clock, now=now), Gates(clock=clock), RetryBudget(clock=clock))
    resting, refresher = guard.breakers.resting, Refresher(cache.leases)
    stages: list[Stage] = [
        Telemetry(bus, prices, clock, now),  # outermost: hits and failures are told too, and all time is counted
        *with_meaning(caching(cache, prices, refresher, clock), semantic),  # before what costs: a kept answer is free
        *filter(None, (quota, budgeting)),  # below caching: a kept answer is free; above coalesce: each has his own
        Coalesce(clock),  # below caching: who shares an answer has missed; above route: one asking, whole
        *flights(cache, prices, clock),  # below coalesce: one of each process asks the others
        Route(Balancer(clock, jitter), resting, keys),  # above retry: each candidate has attempts of its own
        Retry(attempts, base, cap, sleep, jitter, resting=resting, budget=guard.budget),  # the only one that asks twice
        guard.breakers,  # below retry: each attempt passes it, so that none waits for a model that is away
        guard.gates,  # next to the provider: a place is held only while it is asked, not while a retry waits
    ]
    return refresher.through(compose(stages, ask_providers(providers, clock)))


def caching(cache: AnswerCache, prices: Prices, refresher: Refresher, clock: Monotonic) -> Caching:
    """Return the stage that keeps answers, and for a while those that are not to be kept."""
    recent = MemoryCache(RECENT, RECENT_TIME, clock)
    return Caching(cache, recent, prices=prices, refresher=refresher, clock=clock)


def flights(cache: AnswerCache, prices: Prices, clock: Monotonic) -> list[Stage]:
    """Return the stage through which processes ask together, where they share a cache."""
    if cache.leases is None:
        return []
    from llmapi.gateway.flight import Flight  # brings the library of the server along

    return [Flight(cache.leases, prices, clock)]


def with_meaning(caching: Stage, semantic: Semantic | None) -> list[Stage]:
    """Return the caches: first the very same question is looked for, then one of the same meaning."""
    return [caching] if semantic is None else [semantic.terms, caching, semantic]
