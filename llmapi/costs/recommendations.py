"""What could be cheaper, each with the calculation that says by how much: anybody can redo it from the ledger's rows.

Nothing is said about what saves less than `least` a month, and nothing about traffic that is as it should be.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Engine

from llmapi.core.calls import Target
from llmapi.core.clock import Wall, utc_now
from llmapi.costs import recommendation_rules as rules
from llmapi.costs.budgets import Budgets
from llmapi.db.engine import reading

LEAST: Final = 1_000_000_000  # nano-dollars a month
MONTH: Final = 30  # days


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to change. `saves` is nano-dollars over the range; 0 where it is room and not money that is won."""

    kind: str
    about: Mapping[str, str]  # the dimensions it is about
    saves: int
    what: str
    formula: str
    numbers: Mapping[str, Any]  # what stands in the formula; money in nano-dollars ends in _nanos
    assumes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Looked:
    """What was looked at, and what was found, the largest saving first."""

    start: datetime
    end: datetime
    found: list[Advice] = field(default_factory=list)


class Recommendations:
    """Looks at the ledger of a tenant.

    candidates: the models the operator has configured; no other is recommended
    least: nano-dollars a month from which money is worth a word
    """

    def __init__(
        self,
        engine: Engine,
        prices: rules.PriceList,
        budgets: Budgets,
        candidates: Callable[[], Sequence[Target]],
        *,
        least: int = LEAST,
        now: Wall = utc_now,
    ) -> None:
        self._engine, self._prices, self._budgets = engine, prices, budgets
        self._candidates, self._least, self._now = candidates, least, now

    def of(self, tenant: str, days: int) -> Looked:
        """Return what could be cheaper, by the last so many days; raises StorageFull, Overloaded."""
        end = self._now()
        start = end - timedelta(days=days)
        with reading(self._engine) as connection:
            found = [*self._of_calls(rules.Range(connection, tenant, start, end))]
        found += [Advice(**each) for each in rules.unused_budgets(self._budgets.standings(tenant), end)]
        least = self._least * days // MONTH
        worth = [each for each in found if each.saves >= least or not each.saves]
        return Looked(start, end, sorted(worth, key=lambda each: -each.saves))

    def _of_calls(self, asked: rules.Range) -> list[Advice]:
        groups = rules.groups_of(asked)
        found = [
            *rules.repeats(asked),
            *rules.cheaper_models(groups, self._candidates(), self._prices),
            *rules.prefixes(asked, self._prices),
            *rules.oversized(asked),
            *rules.batches(asked, self._prices),
        ]
        return [Advice(**each) for each in found]
