"""Which limits a request is under: its route's, or its plan's for the route; and those of its key, user and tenant."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from limits import RateLimitItem, parse_many

from llmapi.core.errors import BadSetting
from llmapi.core.identity import Identity
from llmapi.db.sliding import Charge

LEVELS = ("key", "user", "tenant")


class Plan(Protocol):
    """A named set of limits."""

    def rule(self, route: str) -> str | None:
        """Return the limit of a route group; None: it names none."""
        ...


PlanOf = Callable[[str], Plan | None]


def no_plans(_: str) -> None:
    """Return the plan of a service that has none."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One limit of a level; `name` is what headers call it."""

    name: str
    level: str  # route key user tenant
    limit: int
    span: int  # seconds
    words: str  # "60 per 1 minute"

    @property
    def policy(self) -> str:
        """Return it as an item of RateLimit-Policy."""
        return f'"{self.name}";q={self.limit};w={self.span}'


class Levels:
    """The rules of the service, each parsed once.

    routes: a rule for each route group, in flask-limiter's words; several are separated by `;`
    more: rules of `key`, `user`, `tenant` over all routes; empty: none
    plan: finds the plan a caller is under; its rule for a route takes the place of the route's own
    """

    def __init__(self, routes: Mapping[str, str], more: Mapping[str, str], plan: PlanOf = no_plans) -> None:
        self._routes = {name: parsed(f"limits.{name}", name, "route", words) for name, words in routes.items()}
        self._more = {level: parsed(f"limit_{level}", level, level, more.get(level, "")) for level in LEVELS}
        self._plan = plan
        self._of_plans: dict[tuple[str, str], tuple[Rule, ...]] = {}

    def __contains__(self, route: str) -> bool:
        return route in self._routes

    def over(self, route: str, who: Identity | str) -> tuple[Sequence[Rule], list[Charge]]:
        """Return the limits of a request, and what it asks of each. A stranger, an address, has the route's alone."""
        rules = self._routes[route]
        if isinstance(who, str):
            return rules, [Charge(f"route/{route}/{rule.span}//{who}", rule.limit, rule.span) for rule in rules]
        if who.plan:
            rules = self._planned(who.plan, route) or rules
        name = f"{who.tenant}/{who.name}"
        charges = [Charge(f"route/{route}/{rule.span}/{name}", rule.limit, rule.span) for rule in rules]
        more = self._more
        for level, counted in (("key", name), ("user", who.payer.user), ("tenant", who.tenant)):
            if counted and more[level]:
                own = f"{who.tenant}/{counted}" if level == "user" else counted
                rules += more[level]
                charges += [Charge(f"{level}/{rule.span}/{own}", rule.limit, rule.span) for rule in more[level]]
        return rules, charges

    def _planned(self, name: str, route: str) -> tuple[Rule, ...]:
        plan = self._plan(name)
        words = plan.rule(route) if plan else None
        if not words:
            return ()
        known = self._of_plans.get((route, words))
        if known is None:
            known = self._of_plans[(route, words)] = parsed(f"plan {name}", route, "route", words)
        return known


def parsed(setting: str, name: str, level: str, words: str) -> tuple[Rule, ...]:
    """Return the rules some words mean; raises BadSetting."""
    try:
        items = parse_many(words) if words else []
    except ValueError as error:
        raise BadSetting(f"{setting}: {words!r} is no limit; write e.g. 60/minute") from error
    tightest: dict[int, RateLimitItem] = {}
    for item in items:  # one a span: they would count the same hits
        span = item.get_expiry()
        tightest[span] = min(item, tightest.get(span, item), key=lambda each: each.amount)
    return tuple(
        Rule(name if len(tightest) == 1 else f"{name}-{span}s", level, item.amount, span, str(item))
        for span, item in tightest.items()
    )
