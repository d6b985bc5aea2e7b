"""The parts that know what calls cost and may cost, put together from the settings."""

from typing import NamedTuple

from sqlalchemy import Engine

from llmapi.core.contracts import Bus
from llmapi.costs import rollups
from llmapi.costs.budgets import Budgets
from llmapi.costs.ledger import Alerts, Ledger
from llmapi.costs.prices import GenaiPrices
from llmapi.costs.retention import Retention
from llmapi.costs.usage import Usage
from llmapi.gateway.budget import Budgeting
from llmapi.gateway.route import StoredKeys
from llmapi.settings import Settings


class Books(NamedTuple):
    """Budgets, the ledger, and what is asked and kept of it."""

    budgets: Budgets
    ledger: Ledger
    usage: Usage
    retention: Retention

    def budgeting(self, prices: GenaiPrices, keys: StoredKeys) -> Budgeting:
        """Return the gateway's stage that holds money for calls."""
        return Budgeting(self.budgets, self.ledger, prices, keys)


def open_books(settings: Settings, engine: Engine, bus: Bus, prices: GenaiPrices, outbox: Alerts) -> Books:
    """Return the books; the ledger is still to listen on the bus."""
    ledger = Ledger(
        engine, prices, sums=rollups.add, outbox=outbox, tell=bus.tell, lease=settings.budget_lease
    )
    retention = Retention(engine, ledger_kept=settings.ledger_kept, hours_kept=settings.usage_hours_kept)
    return Books(Budgets(engine), ledger, Usage(engine), retention)
