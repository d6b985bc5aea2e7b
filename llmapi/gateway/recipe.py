"""The order of the stages, and the reason for each place."""

import random
from collections.abc import Callable, Mapping
from datetime import datetime

from llmapi.cache.memory import MemoryCache
from llmapi.core.clock import Monotonic, monotonic, utc_now
from llmapi.core.contracts import AnswerCache, Bus, Prices, Provider
from llmapi.core.reply import Handler
from llmapi.gateway.ask import ask_providers
from llmapi.gateway.caching import Caching
from llmapi.gateway.coalesce import Coalesce
from llmapi.gateway.pipeline import Stage, compose
from llmapi.gateway.retry import Nap, Retry, nap
from llmapi.gateway.route import Route
from llmapi.gateway.telemetry import Telemetry

RECENT = 256  # last answers a worker can give again to a client that lost them
RECENT_TIME = 120.0  # seconds; the official SDK has repeated a call by then, or given it up


def build_gateway(
    *,
    providers: Mapping[str, Provider],
    cache: AnswerCache,
    bus: Bus,
    prices: Prices,
    attempts: int = 3,
    base: float = 0.5,
    cap: float = 8.0,
    sleep: Nap = nap,
    jitter: Callable[[], float] = random.random,
    clock: Monotonic = monotonic,
    now: Callable[[], datetime] = utc_now,
) -> Handler:
    """Return the handler that takes a call through every stage to its provider and the reply back.

    attempts, base, cap: how often a provider is asked in all, and the first and the longest backoff in seconds
    sleep, jitter, clock, now: time and chance, replaced by tests
    """
    stages: list[Stage] = [
        Telemetry(bus, prices, clock, now),  # outermost: hits and failures are told too, and all time is counted
        Caching(cache, MemoryCache(RECENT, RECENT_TIME, clock)),  # before anything that costs: a kept answer is free
        Coalesce(clock),  # below caching: who shares an answer has missed; above route: one asking, whole
        Route(),  # above retry: each candidate has its own attempts, a fallback starts fresh
        Retry(attempts, base, cap, sleep, jitter),  # next to the provider: the only one that asks twice
    ]
    return compose(stages, ask_providers(providers, clock))
