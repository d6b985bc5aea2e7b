"""How often a caller may ask: one row of settings a route group, counted by flask-limiter, told in headers.

The `RateLimit` pair follows draft-ietf-httpapi-ratelimit-headers; the older X-RateLimit-* come beside it.
"""

import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flask import Blueprint, Flask, g, request
from flask_limiter import Limiter, RateLimitExceeded
from limits import RateLimitItem, parse

from llmapi.api.request_id import HEADERS
from llmapi.core.errors import BadSetting, RateLimited
from llmapi.db.counters import Counters
from llmapi.db.process_counters import ProcessCounters


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a caller stands after this request: `left` is below 0 when it was one too many, `ends` since 1970."""

    route: str
    rule: RateLimitItem
    left: int
    ends: float

    @property
    def seconds(self) -> int:
        """Return the whole seconds until the window ends, rounded up."""
        return max(1, round(self.ends - time.time() + 0.499))

    def headers(self) -> list[tuple[str, str]]:
        """Return what tells the caller."""
        left = max(0, self.left)
        return [
            ("RateLimit-Policy", f'"{self.route}";q={self.rule.amount};w={self.rule.get_expiry()}'),
            ("RateLimit", f'"{self.route}";r={left};t={self.seconds}'),
            ("X-RateLimit-Limit", str(self.rule.amount)),
            ("X-RateLimit-Remaining", str(left)),
            ("X-RateLimit-Reset", str(round(self.ends + 0.499))),
        ]


class RouteLimiter(Limiter):
    """flask-limiter for the one shape used here, a single limit a blueprint, in one statement instead of three.

    Its own way looks for limits, exemptions and conditions anew with each request: 150 us, a third of a cached
    answer. While the counters work, that is passed by; whenever they do not, it takes over: it falls back to counting
    in memory and comes back by itself.
    """

    rules: Mapping[str, RateLimitItem] = {}
    spare: ProcessCounters  # counts while the file cannot be used

    def check_route(self) -> None:
        """Count this request and note the headers of its answer; raises RateLimited."""
        rule = self.rules.get(request.blueprint or "")
        if rule is None:
            return
        standing = self._counted(request.blueprint or "", rule)
        request.environ[HEADERS] = standing.headers()
        refuse_beyond(standing)

    def count(self, route: str, name: str) -> None:
        """Count what somebody asks through another door against a route's limit; raises RateLimited."""
        rule = self.rules[route]
        storage = self._storage if isinstance(self._storage, Counters | ProcessCounters) else self.spare
        key = rule.key_for(name, route)
        try:
            count, ends = storage.hit(key, rule.get_expiry())
        except sqlite3.Error:
            count, ends = self.spare.hit(key, rule.get_expiry())
        refuse_beyond(Standing(route, rule, rule.amount - count, ends))

    def _counted(self, route: str, rule: RateLimitItem) -> Standing:
        storage = self._storage
        if not self._storage_dead and isinstance(storage, Counters | ProcessCounters):
            try:
                count, ends = storage.hit(rule.key_for(who(), route), rule.get_expiry())
                return Standing(route, rule, rule.amount - count, ends)
            except sqlite3.Error:
                pass  # flask-limiter meets the same below, and knows what to do
        over = False
        try:
            self._fall_back()
        except RateLimitExceeded:
            over = True
        current = self.current_limit
        if current is None:
            return Standing(route, rule, rule.amount, time.time() + rule.get_expiry())
        return Standing(route, rule, -1 if over else current.window.remaining, current.window.reset_time)

    def _fall_back(self) -> None:
        """Let flask-limiter count in memory. Of several threads that meet a failure only the first is expected by it:
        the others' looks fail although the fallback stands, so they look once more.
        """
        try:
            self._check_request_limit()
        except sqlite3.Error:
            self._check_request_limit()


def install(app: Flask, blueprints: Iterable[Blueprint], rules: Mapping[str, str], storage: str) -> None:
    """Give each blueprint the limit set for it; one without a limit stops the start."""
    limiter = RouteLimiter(
        key_func=who,
        storage_uri=storage,
        strategy="fixed-window",
        headers_enabled=False,  # its own puts Retry-After on good answers
        in_memory_fallback_enabled=True,  # an unusable file must not refuse everybody
    )
    limiter.rules, limiter.spare = {}, ProcessCounters()
    for blueprint in blueprints:
        limiter.rules[blueprint.name] = parsed(blueprint.name, rules)
        limiter.limit(rules[blueprint.name])(blueprint)
    app.extensions["limiter"] = {limiter}  # it then adds no hooks of its own: three a request, for what is done here
    limiter.init_app(app)
    app.before_request(limiter.check_route)


def refuse_beyond(standing: Standing) -> None:
    """Raise RateLimited if it was one too many."""
    if standing.left < 0:
        raise RateLimited(f"the limit of this route is {standing.rule}", retry_after=float(standing.seconds))


def limiter_of(app: Flask) -> RouteLimiter:
    """Return an application's limiter."""
    found: RouteLimiter = next(iter(app.extensions["limiter"]))
    return found


def parsed(route: str, rules: Mapping[str, str]) -> RateLimitItem:
    """Return a route's rule; raises BadSetting."""
    if route not in rules:
        raise BadSetting(f"no rate limit is set for {route}")
    try:
        return parse(rules[route])
    except ValueError as error:
        raise BadSetting(f"limits.{route}: {rules[route]!r} is no limit; write e.g. 60/minute") from error


def who() -> str:
    """Return who is counted: the caller's key; an address only where nobody is asked for a key."""
    known = g.get("identity")
    return known.name if known else request.remote_addr or "unknown"
