"""How often a caller may ask: counted in windows that slide, at all levels in one step, told in headers.

The `RateLimit` pair follows draft-ietf-httpapi-ratelimit-headers-10 (`t`: seconds until there is more); the older
X-RateLimit-* beside it tell of the tightest limit.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, cast

from flask import Blueprint, Flask, g, request
from flask_limiter import Limiter

from llmapi.api.limit_levels import Levels, PlanOf, Rule, no_plans
from llmapi.api.request_id import HEADERS
from llmapi.core.errors import BadSetting, RateLimited
from llmapi.core.identity import Identity
from llmapi.db.process_counters import ProcessCounters
from llmapi.db.sliding import Room, Sliding, Taken
from llmapi.db.spare_counters import SteadyCounters


class Standing(NamedTuple):
    """Where a caller stands with one limit after this request."""

    rule: Rule
    room: Room

    @property
    def seconds(self) -> int:
        """Return the whole seconds until there is more room, rounded up."""
        return max(1, -int(-self.room.wait // 1))


class RouteLimiter(Limiter):
    """flask-limiter with the strategy "moving-window", past its own way.

    That looks for limits, exemptions and conditions anew with each request, 150 us, a third of a cached answer; charges
    several limits one after the other, the first ones also when a later one refuses; and needs a further look for the
    headers. Its commands (`flask limiter limits`) and storages are used as they are.
    """

    levels: Levels
    counters: SteadyCounters | ProcessCounters

    def check_route(self) -> None:
        """Count this request and note the headers of its answer; raises RateLimited."""
        if (route := request.blueprint or "") in self.levels:
            standings, taken = self._count(route, g.get("identity") or request.remote_addr or "unknown")
            request.environ[HEADERS] = headers(standings)
            refuse_beyond(standings, taken)

    def count(self, route: str, who: Identity | str) -> None:
        """Count what somebody asks through another door, against all limits of a route; raises RateLimited."""
        refuse_beyond(*self._count(route, who))

    def drain(self, grace: float) -> None:
        """A stop was asked for; requests are counted to the last."""

    def close(self) -> None:
        """Close what the storage has open."""
        cast(Sliding, self.storage).close()

    def _count(self, route: str, who: Identity | str) -> tuple[list[Standing], Taken]:
        """Return how it stands with each limit, the tightest one last."""
        rules, charges = self.levels.over(route, who)
        taken = self.counters.take(charges)
        standings = list(map(Standing, rules, taken.rooms))
        if len(standings) > 1:
            standings.sort(key=looseness)
        return standings, taken


def install(
    app: Flask,
    blueprints: Iterable[Blueprint],
    rules: Mapping[str, str],
    storage: str,
    *,
    more: Mapping[str, str] = MappingProxyType({}),
    plan: PlanOf = no_plans,
    workers: int = 1,
) -> RouteLimiter:
    """Give each blueprint the limit set for it; one without a limit stops the start. Close what it returns at the end.

    more: rules of `key`, `user`, `tenant` over all routes
    plan: finds the plan a caller is under
    workers: processes that share a limit between them while `storage` is away
    """
    limiter = RouteLimiter(
        key_func=who,
        storage_uri=storage,
        strategy="moving-window",
        headers_enabled=False,  # its own puts Retry-After on good answers
    )
    limiter.levels = Levels(rules, more, plan)
    for blueprint in blueprints:
        if blueprint.name not in limiter.levels:
            raise BadSetting(f"no rate limit is set for {blueprint.name}")
        limiter.limit(rules[blueprint.name])(blueprint)
    app.extensions["limiter"] = {limiter}  # it then adds no hooks of its own: three a request, for what is done here
    limiter.init_app(app)
    kept = limiter.storage
    alone = isinstance(kept, ProcessCounters)
    limiter.counters = cast(ProcessCounters, kept) if alone else SteadyCounters(cast(Sliding, kept), workers=workers)
    app.before_request(limiter.check_route)
    return limiter


def headers(standings: Sequence[Standing]) -> list[tuple[str, str]]:
    """Return what tells a caller of all his limits."""
    tightest = standings[-1]
    return [
        ("RateLimit-Policy", ", ".join([standing.rule.policy for standing in standings])),
        ("RateLimit", ", ".join([f'"{each.rule.name}";r={each.room.left};t={each.seconds}' for each in standings])),
        ("X-RateLimit-Limit", str(tightest.rule.limit)),
        ("X-RateLimit-Remaining", str(tightest.room.left)),
        ("X-RateLimit-Reset", str(-int(-(time.time() + tightest.room.wait) // 1))),
    ]


def looseness(standing: Standing) -> tuple[int, float]:
    """Return what orders limits: the least room last, and of those the one that waits longest."""
    return -standing.room.left, standing.room.wait


def refuse_beyond(standings: Sequence[Standing], taken: Taken) -> None:
    """Raise RateLimited if there was no room in one of them."""
    if not taken.counted:
        rule = standings[-1].rule
        seconds = float(standings[-1].seconds)
        raise RateLimited(f"the limit of this {rule.level} is {rule.words}", retry_after=seconds)


def limiter_of(app: Flask) -> RouteLimiter:
    """Return an application's limiter."""
    found: RouteLimiter = next(iter(app.extensions["limiter"]))
    return found


def who() -> str:
    """Return who is counted: the caller's key; an address only where nobody is asked for a key."""
    known = g.get("identity")
    return known.name if known else request.remote_addr or "unknown"
