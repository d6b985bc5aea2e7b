"""The parts the application runs on, and the switch that turns them on and off.

gunicorn builds once and forks; each worker then calls `start`, because threads and child processes cannot be forked,
and `close` at its end.
"""

import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import Engine, text

from llmapi import __version__
from llmapi.cache.marks import Marks
from llmapi.core.calls import NOTHING, Target
from llmapi.core.clock import monotonic
from llmapi.core.contracts import AnswerCache, Prices, Provider
from llmapi.core.errors import LlmApiError, ProviderUnavailable, ValidationFailed
from llmapi.costs.budgets import Budgets
from llmapi.costs.ledger import Ledger
from llmapi.costs.recommendations import Recommendations
from llmapi.costs.retention import Retention
from llmapi.costs.usage import Usage
from llmapi.db.engine import reading
from llmapi.events.audit import Audit
from llmapi.events.bus import EventBus
from llmapi.events.metrics import Metrics
from llmapi.events.webhooks import Webhooks
from llmapi.gateway.idempotency import Keys
from llmapi.gateway.recipe import Guards
from llmapi.gateway.semantic import Semantic
from llmapi.gateway.streams import StreamLog
from llmapi.jobs.engines import JobEngine
from llmapi.jobs.registry import Registry
from llmapi.providers.catalog import Catalog
from llmapi.providers.transport import Transport
from llmapi.settings import Settings
from llmapi.tasks.asked import Asked
from llmapi.tasks.batches import Batches
from llmapi.tasks.lookup import Lookup
from llmapi.tasks.runner import Tasks
from llmapi.tasks.warming import WarmJob
from llmapi.tenants.keys import Keyring
from llmapi.tenants.plans import Plans
from llmapi.tenants.provider_keys import ProviderKeys
from llmapi.tenants.signing import Signatures
from llmapi.tenants.tenants import Tenants
from llmapi.tenants.under_way import UnderWay


FIRST_KEY = """
  The first key, an admin's of the tenant `default`. It is shown this once; make others with it, or with
  `flask --app wsgi keys create`, and keep it where secrets are kept:

      {key}
"""


class Attached(Protocol):
    """What the application hangs on the services and must stop with them."""

    def drain(self, grace: float) -> None: ...

    def close(self) -> None: ...


@dataclass
class Services:
    """Everything a request may need, and the switch that turns it on and off."""

    settings: Settings
    tasks: Tasks
    models: Catalog
    providers: Mapping[str, Provider]
    cache: AnswerCache
    metrics: Metrics
    engine: Engine
    bus: EventBus
    jobs: Registry
    job_engine: JobEngine
    webhooks: Webhooks
    transport: Transport
    prices: Prices
    guards: Guards
    semantic: Semantic
    idempotency: Keys
    streams: StreamLog
    batches: Batches
    warming: WarmJob
    marks: Marks
    lookup: Lookup
    plans: Plans
    under_way: UnderWay
    keyring: Keyring
    signatures: Signatures
    provider_keys: ProviderKeys
    tenants: Tenants
    budgets: Budgets
    recommendations: Recommendations
    ledger: Ledger
    usage: Usage
    retention: Retention
    asked: Asked
    audit: Audit
    counters_url: str
    attached: list[Attached] = field(default_factory=list)
    begun: float = 0.0
    serving: bool = False

    def start(self, settled: Callable[[], object] = bool) -> None:
        """Start what a fork cannot carry: job threads, the embedded model; `settled` is called once all is warm."""
        self.begun = monotonic()
        self.job_engine.start()
        self.streams.start()
        self.idempotency.start()
        self.under_way.start()
        self.webhooks.sender.start()
        self.batches.keeper.start()
        self.retention.start()
        self.asked.start()
        self.ledger.start()
        self.keyring.start()
        self.cache.start()
        self.marks.start()
        self._show_first_key()
        threading.Thread(target=self._warm_up, args=(settled,), name="warm-up", daemon=True).start()
        self.serving = True

    def _show_first_key(self) -> None:
        """Make an admin's key where keys are required and there never was one, and show it: once, by one process."""
        if self.settings.auth != "required" or self.settings.api_keys:
            return
        with suppress(LlmApiError):  # the database is away: the next start will
            if (made := self.keyring.first()) is not None:
                print(FIRST_KEY.format(key=made[1]), file=sys.stderr, flush=True)  # not the log, which is kept

    def _warm_up(self, settled: Callable[[], object]) -> None:
        """Do beforehand what the first request would wait for: heavy imports, the model's process, the price list."""
        targets = self._targets("text", "code", "classify")
        for provider in {target.provider for target in targets}:
            with suppress(ProviderUnavailable):  # /health says so
                self.providers[provider].start()
        for target in targets:
            self.prices.cost(target, NOTHING)
        settled()

    def drain(self) -> None:
        """A stop was asked for: /readyz says no from now on, and jobs finish or go back beside the last requests."""
        self.serving = False
        for each in self.attached:
            each.drain(self.settings.grace)
        self.batches.job.drain()
        self.warming.drain()
        for stop in (self.job_engine.stop, self.webhooks.sender.stop):
            threading.Thread(target=stop, args=(self.settings.grace,), name="drain", daemon=True).start()

    def close(self) -> None:
        """Give everything back; the last thing a process does."""
        self.serving = False
        for each in self.attached:
            each.close()
        self.job_engine.stop(0.0)
        self.streams.close()
        self.idempotency.stop()
        self.under_way.stop()
        self.webhooks.sender.stop(0.0)
        self.batches.keeper.stop()
        self.retention.stop()
        self.asked.stop()
        self.keyring.stop()
        self.marks.stop()
        self.cache.close()
        self.semantic.close()
        for provider in self.providers.values():
            provider.close()
        self.transport.close()
        self.ledger.close()
        self.engine.dispose()

    def ready(self) -> bool:
        """Say whether requests may be sent here: started, not stopping, and the database answers."""
        return self.serving and self._database()["status"] == "ok" and not self._local_is_starting()

    def health(self) -> dict[str, Any]:
        """Return how every dependency is, from what is known already; only the database is asked."""
        parts: dict[str, Mapping[str, Any]] = {
            "database": self._database(),
            "cache": self.cache.health(),
            "jobs": self.job_engine.health(),
            "webhooks": self.webhooks.sender.health(),
            "ledger": self.ledger.health(),
        }
        parts |= {f"provider:{name}": self._provider(name) for name in self.providers}
        return {
            "status": overall(parts),
            "version": __version__,
            "uptime_s": round(monotonic() - self.begun, 3),
            "dependencies": parts,
        }

    def _provider(self, name: str) -> dict[str, Any]:
        """Return how a provider does: what it says itself, its breakers that are not closed, its calls under way."""
        found = dict(self.providers[name].health())
        known = [row for row in self.guards.breakers.states() if row["provider"] == name]
        if troubled := [row for row in known if row["state"] != "closed"]:
            found["breakers"] = [{key: value for key, value in row.items() if key != "provider"} for row in troubled]
            found["status"] = "down" if found["status"] == "down" else "degraded"
        gate = next((row for row in self.guards.gates.states() if row["provider"] == name), None)
        return found | ({"in_flight": gate["in_flight"], "limit": gate["limit"]} if gate else {})

    def listing(self) -> list[dict[str, Any]]:
        """Return the models and aliases, each with how its provider does as far as is known."""
        known = {name: self._provider(name)["status"] for name in self.providers}
        return [{**row, "health": known.get(row["provider"], "unknown")} for row in self.models.listing()]

    def _database(self) -> dict[str, Any]:
        try:
            with reading(self.engine) as connection:
                connection.execute(text("SELECT 1"))
        except LlmApiError as error:
            return {"status": "down", "last_error": error.code}
        return {"status": "ok"}

    def _targets(self, *names: str) -> set[Target]:
        """Return the models these aliases stand for; none where no key is set."""
        with suppress(ValidationFailed):
            return {target for name in names for target in self.models.resolve(name).targets}
        return set()

    def _default_is_local(self) -> bool:
        return any(target.provider == "local" for target in self._targets("text", "code"))

    def _local_is_starting(self) -> bool:
        local = self.providers.get("local")
        return local is not None and self._default_is_local() and local.health().get("state") == "starting"


def overall(parts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return one word: down without the database, degraded when anything else is not well."""
    if parts["database"]["status"] == "down":
        return "down"
    return "degraded" if any(part["status"] in ("down", "degraded") for part in parts.values()) else "ok"
