"""What calls may still use: held before a call, settled to what it really used, given back when nobody does.

One transaction over all levels. The count of a window and the holds of calls under way are rows that all workers
share, so the limits are exact over all of them; a worker that dies leaves holds, which are given back when their lease
ends. Threads of a process that come at once share a transaction (db/combining.py).
"""

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine

from llmapi.core.clock import Wall, rfc3339, utc_now
from llmapi.core.errors import BeyondLimit, BeyondQuota, LlmApiError, Overloaded, QuotaExceeded, RateLimited
from llmapi.core.money import dollars
from llmapi.db.combining import Combining
from llmapi.db.engine import writing
from llmapi.tenants import quota_rows as rows
from llmapi.tenants.quota_rows import Kept, Name, Part
from llmapi.tenants.windows import MONTH, SECOND, Count, Limit, Unit, instant_of, micros_of

PATIENCE = 5.0  # seconds to wait for a turn at the database
BETWEEN_CARE = 512  # calls of one process between two clean-ups
LONGEST_HINT = 120.0  # seconds: clients give up a call that is told to come back later than that
TRIES = 5  # to find counts that others keep deleting

log = logging.getLogger(__name__)


class Demand(NamedTuple):
    """A limit, and how much of it a call may use at most."""

    limit: Limit
    amount: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a limit stands after a call was let in: `used` with what it holds, `resets` when all is free again."""

    limit: Limit
    used: int
    resets: float  # seconds from now


@dataclass(frozen=True, slots=True)
class Hold:
    """What a call under way may use; to be settled once."""

    kept: Kept
    units: tuple[Unit, ...]  # of its parts
    standings: tuple[Standing, ...] = ()


@dataclass(frozen=True, slots=True)
class _Taking:
    id: str
    tenant: str
    demands: tuple[Demand, ...]
    lease: timedelta

    def names(self) -> list[Name]:
        return [(self.tenant, limit.name) for limit, _ in self.demands]


@dataclass(frozen=True, slots=True)
class _Giving:
    """The end of a hold. One that had lapsed was given back: then what was used is counted all the same."""

    kept: Kept
    spent: tuple[int, ...]  # of its parts

    def names(self) -> list[Name]:
        return [(self.kept.tenant, part.name) for part in self.kept.parts]


@dataclass(frozen=True, slots=True)
class _Refusal:
    demand: Demand
    used: int
    fits_at: int
    now: int

    def error(self) -> LlmApiError:
        """Return what the caller is told."""
        limit, amount = self.demand
        wait = (self.fits_at - self.now) / SECOND
        told = told_of(limit, amount) | {"used": shown(limit.unit, self.used)}
        hint = min(LONGEST_HINT, max(1.0, wait))
        if limit.window == MONTH:
            told["resets"] = rfc3339(instant_of(self.fits_at))
            return QuotaExceeded(f"T{named(limit)[1:]} is used up for this month.", retry_after=hint, **told)
        return RateLimited(f"T{named(limit)[1:]} is used up for now.", retry_after=hint, **told)


class Quotas:
    """The limits of tokens, requests and money of all workers."""

    def __init__(self, engine: Engine, *, now: Wall = utc_now, patience: float = PATIENCE) -> None:
        self._engine, self._now, self._patience = engine, now, patience
        self._line: Combining[_Taking | _Giving, Hold | _Refusal | None] = Combining(self._work)
        self._calls = itertools.count(1)
        self._looked = 0  # when this process last looked for lapsed holds, microseconds

    def hold(self, id: str, tenant: str, demands: Sequence[Demand], lease: float) -> Hold:
        """Hold what a call may use at most, all of it or nothing.

        id: nobody else's, ever; lease: seconds after which it is given back unless it was settled
        raises: RateLimited, QuotaExceeded, StorageFull, Overloaded
        """
        for demand in demands:
            if demand.amount > demand.limit.most:
                raise never_fits(demand)
        taking = _Taking(id, tenant, tuple(demands), timedelta(seconds=lease))
        answer = self._do(taking)
        if isinstance(answer, _Refusal) and self._due() and self.reclaim():
            answer = self._do(taking)
        if next(self._calls) % BETWEEN_CARE == 0:
            self._care()
        if isinstance(answer, _Refusal):
            raise answer.error()
        assert answer is not None
        return answer

    def settle(self, hold: Hold, spent: Mapping[Unit, int]) -> None:
        """Replace what was held by what was used; the storage's failures are logged, for the call has its answer."""
        try:
            self._do(_Giving(hold.kept, tuple(max(0, spent[unit]) for unit in hold.units)))
        except LlmApiError as error:
            log.error("what a call has used was not counted: %s", error.message)

    def reclaim(self) -> int:
        """Give back what dead workers held, some at once; returns of how many calls."""
        found = rows.lapsed(self._engine, self._now())
        if found:
            self._work([_Giving(kept, (0,) * len(kept.parts)) for kept in found])
        return len(found)

    def _due(self) -> bool:
        """Say whether to look for lapsed holds: once a second and process is enough."""
        now = micros_of(self._now())
        if self._looked <= now < self._looked + SECOND:
            return False
        self._looked = now
        return True

    def _care(self) -> None:
        try:
            self.reclaim()
            rows.purge(self._engine, self._now())
        except LlmApiError as error:
            log.warning("old counts of quotas were not deleted: %s", error.message)

    def _do(self, errand: _Taking | _Giving) -> Hold | _Refusal | None:
        try:
            return self._line.do(errand, self._patience)
        except TimeoutError:
            raise Overloaded("The storage is busy.", retry_after=1.0) from None

    def _work(self, errands: Sequence[_Taking | _Giving]) -> list[Hold | _Refusal | None]:
        """Do what several threads ask for, in one transaction."""
        names = sorted({name for errand in errands for name in errand.names()})
        for _ in range(TRIES):
            with writing(self._engine) as connection:
                counts = rows.lock(connection, names)
                if len(counts) == len(names):
                    return _Turn(connection, counts, micros_of(self._now())).done(errands)
            rows.make(self._engine, names)
        raise Overloaded("The storage is busy.", retry_after=1.0)


class _Turn:
    """One transaction: what was used is given first, so that who wants to hold something finds the most there is."""

    def __init__(self, connection: Connection, counts: Mapping[Name, Count], now: int) -> None:
        self._connection, self._counts, self._now = connection, counts, now
        self._slices = {name: count.slice_at(now) for name, count in counts.items()}
        self._changed: set[Name] = set()

    def done(self, errands: Sequence[_Taking | _Giving]) -> list[Hold | _Refusal | None]:
        """Return an answer for each; all is written once this transaction ends."""
        givings = [errand for errand in errands if isinstance(errand, _Giving)]
        there = rows.drop(self._connection, [giving.kept.id for giving in givings])
        for giving in givings:
            self._give(giving, giving.kept.id in there)
        answers = [self._take(errand) if isinstance(errand, _Taking) else None for errand in errands]
        rows.save(self._connection, {name: self._counts[name] for name in self._changed})
        now, fresh = instant_of(self._now), []
        for errand, answer in zip(errands, answers, strict=True):
            if isinstance(errand, _Taking) and isinstance(answer, Hold):
                fresh.append((answer.kept, now + errand.lease))
        rows.keep(self._connection, fresh)
        return answers

    def _give(self, giving: _Giving, there: bool) -> None:
        for part, spent in zip(giving.kept.parts, giving.spent, strict=True):
            self._add((giving.kept.tenant, part.name), part.number, spent - part.held if there else spent)

    def _take(self, taking: _Taking) -> Hold | _Refusal:
        for demand, name in zip(taking.demands, taking.names(), strict=True):
            count = self._counts[name]
            if count.used() + demand.amount > demand.limit.most:
                fits = count.fits_at(demand.amount, demand.limit.most, self._now)
                return _Refusal(demand, count.used(), fits, self._now)
        parts = []
        for (limit, amount), name in zip(taking.demands, taking.names(), strict=True):
            parts.append(Part(limit.name, limit.window, self._slices[name], amount))
            self._add(name, self._slices[name], amount)
        units = tuple(limit.unit for limit, _ in taking.demands)
        return Hold(Kept(taking.id, taking.tenant, tuple(parts)), units, self._standings(taking))

    def _standings(self, taking: _Taking) -> tuple[Standing, ...]:
        found = zip(taking.demands, taking.names(), strict=True)
        return tuple(
            Standing(limit, self._counts[name].used(), (self._counts[name].over_at() - self._now) / SECOND)
            for (limit, _), name in found
        )

    def _add(self, name: Name, number: int, amount: int) -> None:
        count = self._counts[name]
        if amount and count.reaches(number, self._slices[name]):
            count.add(number, amount)
            self._changed.add(name)


def never_fits(demand: Demand) -> LlmApiError:
    """Return what a caller is told whose one request is larger than a limit."""
    limit, amount = demand
    kind = BeyondQuota if limit.window == MONTH else BeyondLimit
    said = f"This request may need {shown(limit.unit, amount)} {worded(limit.unit)}, more than {named(limit)}"
    return kind(f"{said}: it can never be let in. Make it shorter, or lower max_tokens.", **told_of(limit, amount))


def named(limit: Limit) -> str:
    """Return a limit in words."""
    level = limit.level.partition(":")[0]
    span = {MONTH: "a month", 60: "a minute", 3600: "an hour", 86_400: "a day"}.get(limit.window)
    window = span or f"in {limit.window} seconds"
    return f"the limit of {shown(limit.unit, limit.most)} {worded(limit.unit)} {window} of this {level}"


def worded(unit: Unit) -> str:
    return "US dollars" if unit == "nanos" else unit


def shown(unit: Unit, amount: int) -> int | str:
    """Return an amount as a caller sees it: money as a decimal string."""
    return dollars(amount) if unit == "nanos" else amount


def told_of(limit: Limit, amount: int) -> dict[str, Any]:
    """Return a limit as the details of an error."""
    return {
        "limit": shown(limit.unit, limit.most),
        "unit": "usd" if limit.unit == "nanos" else limit.unit,
        "level": limit.level.partition(":")[0],
        "window": "month" if limit.window == MONTH else f"{limit.window}s",
        "requested": shown(limit.unit, amount),
    }
