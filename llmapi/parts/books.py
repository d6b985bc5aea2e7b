"""The parts that know what calls cost and may cost, put together from the settings."""

from typing import NamedTuple

from llmapi.costs import rollups
from llmapi.costs.budgets import Budgets
from llmapi.costs.ledger import Alerts, Ledger
from llmapi.costs.prices import GenaiPrices
from llmapi.costs.retention import Retention
from llmapi.costs.usage import Usage
from llmapi.gateway.budget import Budgeting
from llmapi.gateway.route import StoredKeys
from llmapi.parts.base import Base


class Books(NamedTuple):
    """Prices, budgets, the ledger, and what is asked and kept of it."""

    prices: GenaiPrices
    budgets: Budgets
    ledger: Ledger
    usage: Usage
    retention: Retention

    def budgeting(self, keys: StoredKeys) -> Budgeting:
        """Return the gateway's stage that holds money for calls."""
        return Budgeting(self.budgets, self.ledger, self.prices, keys)


def open_books(base: Base, outbox: Alerts) -> Books:
    """Return the books; the ledger listens on the bus."""
    settings, engine = base.settings, base.engine
    prices = GenaiPrices({name: price.model_dump(exclude_none=True) for name, price in settings.prices.items()})
    ledger = Ledger(
        engine, prices, sums=rollups.add, outbox=outbox, tell=base.bus.tell, lease=settings.budget_lease
    )
    base.bus.listen(ledger)
    retention = Retention(engine, ledger_kept=settings.ledger_kept, hours_kept=settings.usage_hours_kept)
    return Books(prices, Budgets(engine), ledger, Usage(engine), retention)
