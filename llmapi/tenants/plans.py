"""Plans: a plan is a named set of limits, for every tenant and key that refers to it. What it does not name is free."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import orjson
from sqlalchemy import Engine, RowMapping, delete, exc, func, insert, select, update

from llmapi.core.clock import Monotonic, Wall, monotonic, utc_now
from llmapi.core.errors import NotFound, Overloaded, ValidationFailed
from llmapi.core.money import NANOS_A_DOLLAR, dollars
from llmapi.db.columns import EPOCH
from llmapi.db.engine import reading, writing
from llmapi.db.tables.identity import keys, tenants
from llmapi.db.tables.plans import plans

ANY_ROUTE = "*"
RULE = re.compile(r"[1-9][0-9]{0,8}/([1-9][0-9]{0,3} )?(second|minute|hour|day)s?")  # flask-limiter reads it too
MOST = 500  # plans of a whole service: each process holds all of them
MONTHLY = ("requests", "tokens")


@dataclass(frozen=True, slots=True)
class Monthly:
    """What a calendar month (UTC) may use; None: as much as it likes."""

    requests: int | None = None
    tokens: int | None = None
    nanos: int | None = None  # money


@dataclass(frozen=True, slots=True)
class Plan:
    """One plan; None stands for no limit."""

    name: str
    description: str = ""
    requests: Mapping[str, str] = field(default_factory=dict)  # by route group, "*" for the others: "60/minute"
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    concurrency: int | None = None
    monthly: Monthly = Monthly()
    created: datetime = EPOCH
    changed: datetime = EPOCH

    @classmethod
    def of(cls, row: RowMapping) -> "Plan":
        """Return the plan of a row."""
        limits = orjson.loads(row["limits"])
        month = limits.get("monthly", {})
        nanos = int(Decimal(month["usd"]) * NANOS_A_DOLLAR) if month.get("usd") is not None else None
        return cls(
            name=row["name"],
            description=row["description"],
            requests=MappingProxyType(limits.get("requests", {})),
            tokens_per_minute=limits.get("tokens_per_minute"),
            tokens_per_day=limits.get("tokens_per_day"),
            concurrency=limits.get("concurrency"),
            monthly=Monthly(month.get("requests"), month.get("tokens"), nanos),
            created=row["created"],
            changed=row["changed"],
        )

    def rule(self, route: str) -> str | None:
        """Return the rule for a route group: its own, else the one for any, else None."""
        return self.requests.get(route) or self.requests.get(ANY_ROUTE)

    def limits(self) -> dict[str, Any]:
        """Return its limits as they are written: only those it has."""
        month = {name: getattr(self.monthly, name) for name in MONTHLY}
        month["usd"] = None if self.monthly.nanos is None else dollars(self.monthly.nanos)
        told = {
            "requests": dict(self.requests) or None,
            "tokens_per_minute": self.tokens_per_minute,
            "tokens_per_day": self.tokens_per_day,
            "concurrency": self.concurrency,
            "monthly": {name: value for name, value in month.items() if value is not None} or None,
        }
        return {name: value for name, value in told.items() if value is not None}


@dataclass(frozen=True, slots=True)
class PlanPage:
    """Plans by name, and where the next page begins (None: this is the last)."""

    plans: tuple[Plan, ...]
    after: str | None


class Plans:
    """All plans. `get` answers from memory: what another process changed is seen `fresh` seconds later."""

    def __init__(
        self, engine: Engine, *, fresh: float = 2.0, clock: Monotonic = monotonic, now: Wall = utc_now
    ) -> None:
        self._engine = engine
        self._fresh = fresh
        self._clock = clock
        self._now = now
        self._known: Mapping[str, Plan] | None = None
        self._until = 0.0

    def get(self, name: str) -> Plan | None:
        """Return a plan; None: there is none of this name. Raises Overloaded if none was ever read."""
        known = self._known
        if known is None or self._clock() >= self._until:
            known = self._read(known)
        return known.get(name)

    def _read(self, old: Mapping[str, Plan] | None) -> Mapping[str, Plan]:
        """Read all plans; while the database is away the last ones stay in force."""
        self._until = self._clock() + self._fresh  # first, so that the other threads go on with the old ones
        try:
            with reading(self._engine) as connection:
                rows = connection.execute(select(*plans.c)).mappings().all()
        except Overloaded:
            if old is None:
                raise
            return old
        self._known = {row["name"]: Plan.of(row) for row in rows}
        return self._known

    def need(self, name: str) -> None:
        """Raise ValidationFailed if there is no such plan; "" is none, which is good."""
        if not name:
            return
        try:
            self.find(name)
        except NotFound:
            raise ValidationFailed("there is no such plan", fields={"plan": ["There is no such plan."]}) from None

    def find(self, name: str) -> Plan:
        """Return a plan as the database has it; raises NotFound."""
        with reading(self._engine) as connection:
            return _one(connection.execute(select(*plans.c).where(plans.c.name == name)).mappings().one_or_none())

    def list(self, *, limit: int = 20, after: str | None = None) -> PlanPage:
        """Return plans by name; `after` is the last page's."""
        found = select(*plans.c).order_by(plans.c.name).limit(limit + 1)
        if after is not None:
            found = found.where(plans.c.name > after)
        with reading(self._engine) as connection:
            rows = connection.execute(found).mappings().all()
        page = tuple(Plan.of(row) for row in rows[:limit])
        return PlanPage(page, page[-1].name if len(rows) > limit else None)

    def create(self, name: str, *, description: str = "", limits: Mapping[str, Any]) -> Plan:
        """Keep a new plan; raises ValidationFailed if its name is taken."""
        now = self._now()
        values = {"name": name, "description": description, "limits": written(limits), "created": now, "changed": now}
        try:
            with writing(self._engine) as connection:
                if connection.execute(select(func.count()).select_from(plans)).scalar_one() >= MOST:
                    raise ValidationFailed(f"There are {MOST} plans already: delete one first.")
                row = connection.execute(insert(plans).returning(*plans.c), values).mappings().one()
        except exc.IntegrityError:
            raise ValidationFailed("this plan exists", fields={"name": ["is taken"]}) from None
        return self._changed(row)

    def update(self, name: str, *, description: str | None = None, limits: Mapping[str, Any] | None = None) -> Plan:
        """Change what is given, `limits` as a whole; raises NotFound."""
        values: dict[str, Any] = {"changed": self._now()}
        if description is not None:
            values["description"] = description
        if limits is not None:
            values["limits"] = written(limits)
        with writing(self._engine) as connection:
            change = update(plans).where(plans.c.name == name).values(values).returning(*plans.c)
            row = connection.execute(change).mappings().one_or_none()
        return self._changed(row)

    def delete(self, name: str) -> None:
        """Delete a plan; raises NotFound, and ValidationFailed while a tenant or an active key is under it."""
        under = select(tenants.c.id).where(tenants.c.plan == name)
        used = under.union_all(select(keys.c.id).where(keys.c.plan == name, keys.c.state == "active")).limit(1)
        with writing(self._engine) as connection:
            if connection.execute(used).one_or_none() is not None:
                raise ValidationFailed("the plan is in use", fields={"name": ["A tenant or a key is under it."]})
            if connection.execute(delete(plans).where(plans.c.name == name)).rowcount == 0:
                raise NotFound("There is no such plan.")
        self._until = 0.0

    def _changed(self, row: RowMapping | None) -> Plan:
        self._until = 0.0  # in this process at once
        return _one(row)


def written(limits: Mapping[str, Any]) -> str:
    """Return limits as they are kept; raises ValidationFailed for a rule that cannot be read."""
    for route, rule in limits.get("requests", {}).items():
        if not RULE.fullmatch(rule):
            raise ValidationFailed(
                "this is no limit", fields={f"limits.requests.{route[:64]}": ["write e.g. 60/minute or 60/5 minutes"]}
            )
    return orjson.dumps(limits).decode()


def _one(row: RowMapping | None) -> Plan:
    if row is None:
        raise NotFound("There is no such plan.")
    return Plan.of(row)
