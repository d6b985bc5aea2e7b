"""Which limits a call is under: those of its tenant's plan and its key's plan, and those that are set for all."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from limits import parse_many
from sqlalchemy import Engine, select

from llmapi.core.calls import Target
from llmapi.core.clock import Monotonic, monotonic
from llmapi.core.errors import BadSetting
from llmapi.core.identity import Payer
from llmapi.db.engine import reading
from llmapi.db.tables.identity import keys, tenants
from llmapi.tenants.plans import Plan, Plans
from llmapi.tenants.windows import MONTH, Limit

MINUTE, DAY = 60, 86_400
FRESH = 2.0  # seconds a plan is remembered
MOST_KNOWN = 10_000  # tenants and keys remembered at once
LONGEST_LEVEL: Final = 160  # characters

PlanOf = Callable[[str, str], Plan | None]  # tenant, key's id -> the plan that key names itself; key "": the tenant's
Found = tuple[Limit, ...]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens somebody may use; 0: any number."""

    minute: int = 0
    day: int = 0

    def limits(self, level: str) -> Found:
        """Return the limits for a level."""
        spans = ((MINUTE, self.minute), (DAY, self.day))
        return tuple(Limit(level, "tokens", window, most) for window, most in spans if most)


@dataclass(frozen=True, slots=True)
class Usual:
    """What is set for all: for each tenant and key without a plan, each user, and by model each tenant's use of it."""

    tenant: Tokens = Tokens()
    key: Tokens = Tokens()
    user: Tokens = Tokens()
    models: Mapping[str, Found] = field(default_factory=dict)  # by provider/model


class Allowances:
    """Says which limits a call is under. A plan stands in place of what is set for all, also where it names nothing."""

    def __init__(self, usual: Usual, plan_of: PlanOf | None = None, *, clock: Monotonic = monotonic) -> None:
        self._usual, self._plan_of, self._clock = usual, plan_of, clock
        self._users = bool(usual.user.limits(""))
        self._known: dict[tuple[str, str], tuple[float, Found]] = {}

    def of(self, tenant: str, payer: Payer, target: Target) -> Found:
        """Return the limits of a call, each under another name; () for most."""
        known = self._known.get((tenant, payer.key))
        found = known[1] if known is not None and known[0] > self._clock() else self._look(tenant, payer.key)
        if self._users and payer.user:
            found += self._usual.user.limits(level("user", payer.user))
        if self._usual.models:
            found += self._usual.models.get(f"{target.provider}/{target.model}", ())
        return found

    def plan(self, tenant: str, key: str) -> Plan | None:
        """Return the plan a key is under: its own, else its tenant's."""
        if self._plan_of is None:
            return None
        return self._plan_of(tenant, key) or self._plan_of(tenant, "")

    def _look(self, tenant: str, key: str) -> Found:
        ask = self._plan_of or (lambda *_: None)
        found = under(ask(tenant, ""), "tenant", self._usual.tenant)
        if key:
            found += under(ask(tenant, key), level("key", key), self._usual.key)
        if len(self._known) >= MOST_KNOWN:
            self._known = {}
        self._known[tenant, key] = self._clock() + FRESH, found
        return found


def under(plan: Plan | None, level: str, usual: Tokens) -> Found:
    """Return the limits of a plan for a level; the usual ones where there is none."""
    if plan is None:
        return usual.limits(level)
    month = plan.monthly
    found = (
        *Tokens(plan.tokens_per_minute or 0, plan.tokens_per_day or 0).limits(level),
        Limit(level, "requests", MONTH, -1 if month.requests is None else month.requests),
        Limit(level, "tokens", MONTH, -1 if month.tokens is None else month.tokens),
        Limit(level, "nanos", MONTH, -1 if month.nanos is None else month.nanos),
    )
    return tuple(limit for limit in found if limit.most >= 0)


def level(kind: str, name: str) -> str:
    """Return the level of a key, a user or a model, short enough to be kept under."""
    if len(name) > LONGEST_LEVEL:
        name = hashlib.sha256(name.encode()).hexdigest()
    return f"{kind}:{name}"


def model_limits(rules: Mapping[str, str]) -> dict[str, Found]:
    """Return limits by `provider/model` from words such as "100/minute; 20000 tokens/hour"; raises BadSetting."""
    return {name: tuple(_rules(name, words)) for name, words in rules.items()}


def _rules(name: str, words: str) -> Iterable[Limit]:
    for word in words.split(";"):
        text = word.replace(" tokens", "")
        try:
            items = parse_many(text)
        except ValueError:
            items = []
        if "/" not in name or len(items) != 1:
            raise BadSetting(f"quotas.models: {name} = {word!r} is no limit; write e.g. gemini/gemini-3 = 100/minute")
        unit = Limit(level("model", name), "requests" if text == word else "tokens", 1, items[0].amount)
        yield replace(unit, window=items[0].get_expiry())


class PlanNames:
    """Finds the plans that tenants and keys name; a PlanOf. While there are no plans, it asks for nothing else."""

    def __init__(self, engine: Engine, plans: Plans, *, clock: Monotonic = monotonic) -> None:
        self._engine, self._plans, self._clock = engine, plans, clock
        self._any, self._until = False, 0.0

    def __call__(self, tenant: str, key: str) -> Plan | None:
        """Return the plan of a key, or with key "" of a tenant; None: it names none, or one that is gone."""
        if self._clock() >= self._until:
            self._any, self._until = bool(self._plans.list(limit=1).plans), self._clock() + FRESH
        if not self._any:
            return None
        named = select(tenants.c.plan).where(tenants.c.id == tenant)
        if key:
            named = select(keys.c.plan).where(keys.c.tenant == tenant, keys.c.id == key)
        with reading(self._engine) as connection:
            name = connection.scalar(named)
        return self._plans.get(name) if name else None
