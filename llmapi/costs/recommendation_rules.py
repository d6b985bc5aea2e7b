"""The rules behind recommendations: from sums of ledger rows to what to change and the calculation behind it.

Each yields the fields of an Advice. Where a rule has to assume something, it says so.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple, Protocol

from sqlalchemy import BigInteger, Connection, Select, cast, func, select

from llmapi.core.calls import Target, Usage
from llmapi.core.money import Cost
from llmapi.costs.budgets import Standing
from llmapi.db.tables.jobs import jobs
from llmapi.db.tables.ledger import ledger

Json = dict[str, Any]
FEW: Final = 20  # calls of which nothing is concluded
WHAT: Final = ("task", "provider", "model")
NANOS_A_TOKEN: Final = Decimal(1000)  # of a dollar a million tokens
PREFIX_FROM: Final = 1024  # tokens from which vendors keep a prompt's beginning
STABLE: Final = 0.8  # share of the mean prompt that the shortest has, where prompts are taken to be alike
SHARED: Final = Decimal("0.5")  # share of the shortest prompt taken to be the same in all
OVERSIZED: Final = 4  # times what 99 of 100 answers need
UNUSED: Final = 0.1  # share of a budget below which it is hardly used
LATE: Final = 0.8  # share of its window after which that can be said


class PriceList(Protocol):
    """Prices that can be shown, and those of a vendor's own batches."""

    def quote(self, target: Target, usage: Usage) -> Json | None: ...

    def batch_cost(self, target: Target, usage: Usage) -> Cost: ...


class Range(NamedTuple):
    """Whose calls of when."""

    connection: Connection
    tenant: str
    start: datetime
    end: datetime

    def rows(self, *columns: Any) -> Select[Any]:
        """Return the selection of good, paid calls."""
        mine = (ledger.c.tenant == self.tenant, ledger.c.at >= self.start, ledger.c.at < self.end)
        return select(*columns).where(*mine, ledger.c.status == "ok", ledger.c.pricing == "priced", ledger.c.cost > 0)


class Group(NamedTuple):
    """What the calls of one task at one model add up to."""

    task: str
    provider: str
    model: str
    calls: int
    cost: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int

    def usage(self) -> Usage:
        return Usage(self.input_tokens, self.output_tokens, self.cached_tokens, self.reasoning_tokens)

    def mean(self) -> Usage:
        """Return the usage of a call of middling size: prices may depend on it."""
        return Usage(*(tokens // self.calls for tokens in self.usage_tuple()))

    def usage_tuple(self) -> tuple[int, int, int, int]:
        return self.input_tokens, self.output_tokens, self.cached_tokens, self.reasoning_tokens


def added(column: Any) -> Any:
    """Return a sum as a whole number, on PostgreSQL too."""
    return cast(func.sum(column), BigInteger)


def groups_of(asked: Range) -> list[Group]:
    """Return all paid calls by task and model."""
    row = ledger.c
    tokens = (row.input_tokens, row.cached_tokens, row.output_tokens, row.reasoning_tokens)
    by = [row[name] for name in WHAT]
    found = asked.rows(*by, func.count(), added(row.cost), *map(added, tokens)).group_by(*by)
    return [Group._make(each) for each in asked.connection.execute(found)]


def repeats(asked: Range) -> Iterator[Json]:
    """Yield what equal questions cost that a provider was asked more than once, the dearest asking of each left out."""
    by = [ledger.c[name] for name in WHAT]
    each = asked.rows(*by, func.count().label("calls"), (added(ledger.c.cost) - func.max(ledger.c.cost)).label("again"))
    many = each.where(ledger.c.question != "").group_by(ledger.c.question, *by).having(func.count() > 1).subquery()
    outer = [many.c[name] for name in WHAT]
    sums: Select[Any] = select(*outer, func.count(), added(many.c.calls), added(many.c.again)).group_by(*outer)
    for task, provider, model, questions, calls, again in asked.connection.execute(sums):
        if calls - questions >= FEW:
            yield {
                "kind": "cacheable_repeats",
                "about": {"task": task, "provider": provider, "model": model},
                "saves": again,
                "what": f"{calls - questions} calls repeated a question that had been answered: let the cache answer.",
                "formula": "sum over questions asked more than once of (sum of cost - largest cost)",
                "numbers": {"questions": questions, "calls": calls, "saves_nanos": again},
                "assumes": ("an answer may be given again as long as the range is",),
            }


def cheaper_models(groups: Iterable[Group], candidates: Sequence[Target], prices: PriceList) -> Iterator[Json]:
    """Yield for each task and model the cheapest configured model on the same tokens."""
    for group in groups:
        if group.task == "embed" or group.calls < FEW:
            continue  # vectors of two models cannot be compared
        others = [each for each in candidates if (each.provider, each.model) != (group.provider, group.model)]
        priced = [
            (price_of(quote, group), index, quote)
            for index, each in enumerate(others)
            if each.can("chat") and (quote := prices.quote(each, group.mean())) is not None
        ]
        if priced and (best := min(priced, key=lambda each: each[:2]))[0] < group.cost:
            yield _cheaper(group, others[best[1]], best[0], best[2])


def _cheaper(group: Group, other: Target, price: int, quote: Json) -> Json:
    name = f"{other.provider}/{other.model}"
    tokens = dict(zip(("input", "output", "cached", "reasoning"), group.usage_tuple(), strict=True))
    return {
        "kind": "cheaper_model",
        "about": {"task": group.task, "provider": group.provider, "model": group.model},
        "saves": group.cost - price,
        "what": f"{name} asks less for the same tokens: try whether its answers are good enough.",
        "formula": "cost - ((input - cached) * p.input + cached * p.cached + (output - reasoning) * p.output"
        " + reasoning * p.reasoning), p in USD a million tokens",
        "numbers": {
            "calls": group.calls,
            "cost_nanos": group.cost,
            "tokens": tokens,
            "candidate": name,
            "candidate_price": quote,
            "candidate_cost_nanos": price,
        },
        "assumes": ("the same number of tokens", "good enough answers: their quality was not compared"),
    }


def price_of(quote: Json, group: Group) -> int:
    """Return what a group's tokens cost at a quote, in nano-dollars."""
    given, said, cached, thought = group.usage_tuple()
    total = rate(quote, "input") * (given - cached) + rate(quote, "cached", "input") * cached
    total += rate(quote, "output") * (said - thought) + rate(quote, "reasoning", "output") * thought
    return round(total * NANOS_A_TOKEN + Decimal(quote.get("request", 0)) * 1_000_000 * group.calls)


def rate(quote: Json, *names: str) -> Decimal:
    """Return the first of these prices that a quote has."""
    return next((Decimal(quote[name]) for name in names if name in quote), Decimal(0))


def prefixes(asked: Range, prices: PriceList) -> Iterator[Json]:
    """Yield keys whose prompts are long, alike, and never read from a vendor's cache that would be cheaper."""
    row = ledger.c
    by = [row.key, *(row[name] for name in WHAT)]
    sums = asked.rows(*by, func.count(), added(row.input_tokens), added(row.cached_tokens), func.min(row.input_tokens))
    long = sums.group_by(*by).having(func.min(row.input_tokens) >= PREFIX_FROM, func.count() >= FEW)
    for key, task, provider, model, calls, given, cached, shortest in asked.connection.execute(long):
        quote = prices.quote(Target(provider, model), Usage(given // calls))
        if quote is None or "cached" not in quote or shortest * calls < STABLE * given or cached * 10 > given:
            continue
        shared = int(shortest * SHARED)
        cheaper = rate(quote, "input") - rate(quote, "cached")
        tokens = max(0, shared * (calls - 1) - cached)
        yield {
            "kind": "prompt_prefix",
            "about": {"key": key, "task": task, "provider": provider, "model": model},
            "saves": int(cheaper * tokens * NANOS_A_TOKEN),
            "what": "Put what all prompts share at their beginning, unchanged: the vendor reads it from its cache.",
            "formula": "(shared * (calls - 1) - cached) * (p.input - p.cached), p in USD a million tokens",
            "numbers": {"calls": calls, "shared": shared, "shortest": shortest, "cached": cached, "price": quote},
            "assumes": (f"{SHARED} of the shortest prompt is the same in all", "calls come while the vendor keeps it"),
        }


def oversized(asked: Range) -> Iterator[Json]:
    """Yield models whose calls reserve far more output than they use; it costs no money but room in budgets."""
    row = ledger.c
    by = [*(row[name] for name in WHAT), row.max_tokens]
    counted = asked.rows(*by, row.output_tokens, func.count()).where(row.max_tokens > 0)
    found: dict[tuple[Any, ...], list[tuple[int, int]]] = {}
    for *group, tokens, count in asked.connection.execute(counted.group_by(*by, row.output_tokens)):
        found.setdefault(tuple(group), []).append((tokens, count))
    for (task, provider, model, most), sizes in sorted(found.items()):
        calls, needed = sum(count for _, count in sizes), percentile(sizes, 0.99)
        if calls >= FEW and most > OVERSIZED * max(needed, 64):
            enough = math.ceil(needed * 1.25 / 16) * 16 or 16
            yield {
                "kind": "oversized_max_tokens",
                "about": {"task": task, "provider": provider, "model": model},
                "saves": 0,
                "what": f"max_tokens of {most} holds back budget and quota that no answer uses: {enough} is enough.",
                "formula": "(max_tokens - enough) * calls tokens fewer are held; enough = p99 * 1.25, in steps of 16",
                "numbers": {
                    "calls": calls,
                    "max_tokens": most,
                    "p99_output_tokens": needed,
                    "enough": enough,
                    "tokens_fewer_held": (most - enough) * calls,
                },
                "assumes": ("answers stay as long as they are",),
            }


def percentile(sizes: list[tuple[int, int]], share: float) -> int:
    """Return the size that this share of all, given as (size, count), does not exceed."""
    left = math.ceil(share * sum(count for _, count in sizes))
    for size, count in sorted(sizes):
        left -= count
        if left <= 0:
            return size
    return 0


def batches(asked: Range, prices: PriceList) -> Iterator[Json]:
    """Yield what calls of jobs would have cost as the vendor's batches, as far as their jobs are still kept."""
    row = ledger.c
    by = [row[name] for name in WHAT]
    tokens = (row.input_tokens, row.cached_tokens, row.output_tokens, row.reasoning_tokens)
    of_jobs = row.call_id.in_(select(jobs.c.request_id).where(jobs.c.tenant == asked.tenant, jobs.c.kind == "task"))
    sums = asked.rows(*by, func.count(), added(row.cost), *map(added, tokens)).where(of_jobs, ~row.batch)
    for group in map(Group._make, asked.connection.execute(sums.group_by(*by))):
        mean = group.mean()
        target = Target(group.provider, group.model)
        price, quote = prices.batch_cost(target, mean).nanos, prices.quote(target, mean)
        if group.calls < FEW or price is None or quote is None or not (usual := price_of_one(quote, mean)):
            continue
        share = Decimal(price) / usual
        if share < 1:
            yield {
                "kind": "batch",
                "about": {"task": group.task, "provider": group.provider, "model": group.model},
                "saves": int(group.cost * (1 - share)),
                "what": f"{group.calls} calls came as jobs, which wait anyway: the vendor's batches cost less.",
                "formula": "cost * (1 - batch price / price), both of the mean call",
                "numbers": {"calls": group.calls, "cost_nanos": group.cost, "share": f"{share:.6f}"},
                "assumes": ("the vendor's own batch API, which this service does not ask", "up to a day of time"),
            }


def price_of_one(quote: Json, usage: Usage) -> int:
    """Return what one call costs at a quote."""
    tokens = (usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.reasoning_tokens)
    return price_of(quote, Group("", "", "", 1, 0, *tokens))


def unused_budgets(standings: Iterable[Standing], now: datetime) -> Iterator[Json]:
    """Yield budgets of which little is used although their window is nearly over."""
    for each in standings:
        budget, span = each.budget, (each.ends - each.begins).total_seconds()
        late = budget.window == "rolling" or (now - each.begins).total_seconds() >= LATE * span
        known = budget.created <= each.begins
        if budget.active and known and late and budget.amount and each.spent < UNUSED * budget.amount:
            yield {
                "kind": "unused_budget",
                "about": {"budget": budget.id, "level": budget.level, "name": budget.name},
                "saves": 0,
                "what": "Little of this budget is used: lower it, so that it protects, or give the money to others.",
                "formula": "spent / amount, with at least 80 % of the window over",
                "numbers": {"amount_nanos": budget.amount, "spent_nanos": each.spent},
                "assumes": (),
            }
