"""The composition root: settings in, the parts the application runs on out. Shared by web server, workers and CLI.

gunicorn builds once and forks; each worker then calls `start`, because threads and child processes cannot be forked,
and `close` at its end.
"""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from llmapi import __version__
from llmapi.cache import open_cache
from llmapi.core.clock import monotonic
from llmapi.core.calls import NOTHING, Target
from llmapi.core.contracts import AnswerCache, Bus, Prices, Provider
from llmapi.core.errors import LlmApiError, ProviderUnavailable, ValidationFailed
from llmapi.core.reply import Handler
from llmapi.costs.prices import GenaiPrices
from llmapi.db import process_counters
from llmapi.db.counters import counters_uri
from llmapi.db.engine import open_engine, reading
from llmapi.db.schema import upgrade
from llmapi.events.bus import EventBus
from llmapi.events.logs import log_calls
from llmapi.events.metrics import Metrics
from llmapi.gateway.preview import Preview
from llmapi.gateway.breaker import Breakers
from llmapi.gateway.overload import Gates
from llmapi.gateway.recipe import Guards, build_gateway
from llmapi.gateway.retry_budget import RetryBudget
from llmapi.gateway.retry import Nap, nap
from llmapi.jobs.registry import Registry
from llmapi.jobs.threads import Threads
from llmapi.providers.catalog import Catalog
from llmapi.providers.rows import MODELS
from llmapi.providers.transport import Transport
from llmapi.setting_tables import TaskSettings
from llmapi.settings import Settings
from llmapi.tasks.chat import ChatTask
from llmapi.tasks.decisions import DecisionsTask
from llmapi.tasks.embed import EmbedTask
from llmapi.tasks.kinds import ClassifyTask, CodeTask, TextTask
from llmapi.tasks.later import KIND, TaskJob
from llmapi.tasks.runner import Task, TaskDefaults, Tasks
from llmapi.vendors import configured, open_models, open_providers

LOCAL_QUEUE = 32  # calls that may wait for each slot of the embedded model


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
    jobs: Registry
    threads: Threads
    transport: Transport
    prices: Prices
    guards: Guards
    counters_url: str
    begun: float = 0.0
    serving: bool = False

    def start(self, settled: Callable[[], object] = bool) -> None:
        """Start what a fork cannot carry: job threads, the embedded model; `settled` is called once all is warm."""
        self.begun = monotonic()
        self.threads.start()
        threading.Thread(target=self._warm_up, args=(settled,), name="warm-up", daemon=True).start()
        self.serving = True

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
        threading.Thread(target=self.threads.stop, args=(self.settings.grace,), name="drain", daemon=True).start()

    def close(self) -> None:
        """Give everything back; the last thing a process does."""
        self.serving = False
        self.threads.stop(0.0)
        for provider in self.providers.values():
            provider.close()
        self.transport.close()
        self.engine.dispose()

    def ready(self) -> bool:
        """Say whether requests may be sent here: started, not stopping, and the database answers."""
        return self.serving and self._database()["status"] == "ok" and not self._local_is_starting()

    def health(self) -> dict[str, Any]:
        """Return how every dependency is, from what is known already; only the database is asked."""
        parts: dict[str, Mapping[str, Any]] = {
            "database": self._database(),
            "cache": {"status": "ok", **self.cache.stats()},
            "jobs": self.threads.health(),
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


def build(settings: Settings, *, sleep: Nap = nap) -> Services:
    """Return the services for these settings; raises BadSetting. Nothing runs yet; the database is brought up to date.

    sleep: how a retry waits, replaced by tests
    """
    folder = settings.data_dir.absolute()
    engine = open_engine(settings.database_url, folder=folder)
    upgrade(engine)
    cache = open_cache(settings.cache_url, entries=settings.cache_entries, ttl=settings.cache_ttl)
    known = [model.name for model in MODELS]
    metrics = Metrics(cache, workers=settings.workers, folder=folder, models=known)
    bus = EventBus([metrics, log_calls])
    transport = Transport()
    providers = open_providers(settings, transport, folder)
    usable = configured(settings, providers)
    models = open_models(settings, usable)
    prices = GenaiPrices({name: price.model_dump(exclude_none=True) for name, price in settings.prices.items()})
    guards = open_guards(settings, bus)
    gateway = build_gateway(
        providers=providers,
        cache=cache,
        bus=bus,
        prices=prices,
        guards=guards,
        attempts=settings.retry_attempts,
        sleep=sleep,
    )
    tasks = open_tasks(settings, gateway, models, prices, Preview(cache, prices))
    jobs = Registry(engine, bus)
    return Services(
        settings=settings,
        tasks=tasks,
        models=models,
        providers=usable,
        cache=cache,
        metrics=metrics,
        engine=engine,
        jobs=jobs,
        threads=open_threads(settings, jobs, tasks),
        transport=transport,
        prices=prices,
        guards=guards,
        counters_url=counters_of(settings, folder),
    )


def open_guards(settings: Settings, bus: Bus) -> Guards:
    """Return what keeps calls from a provider in trouble."""
    embedded = {"local": min(settings.in_flight, settings.local_slots * LOCAL_QUEUE)}
    return Guards(
        Breakers(bus, ratio=settings.breaker_ratio, least=settings.breaker_calls, rest=settings.breaker_rest),
        Gates(embedded, most=settings.in_flight, wait=settings.queue_wait),
        RetryBudget(settings.retry_ratio),
    )


def counters_of(settings: Settings, folder: Path) -> str:
    """Return where rate limits are counted, as flask-limiter's storage URI."""
    alone = settings.limit_store == "memory" or (settings.limit_store == "auto" and settings.workers == 1)
    return process_counters.URI if alone else counters_uri(folder)


def open_tasks(settings: Settings, gateway: Handler, models: Catalog, prices: Prices, preview: Preview) -> Tasks:
    """Return the tasks on top of a gateway."""
    tasks: dict[str, Task] = {
        "text": TextTask(settings.text.system),
        "code": CodeTask(settings.code.system),
        "classify": ClassifyTask(models, votes=settings.votes, system=settings.classify.system),
        "chat": ChatTask(settings.chat.system),
        "embed": EmbedTask(),
    }
    defaults = {name: defaults_of(getattr(settings, name)) for name in tasks}
    tasks["decisions"] = DecisionsTask(models, votes=settings.votes, system=settings.classify.system)
    defaults["decisions"] = replace(defaults["classify"], model=settings.classify.model or "classify")
    return Tasks(tasks, gateway=gateway, models=models, prices=prices, preview=preview, defaults=defaults)


def open_threads(settings: Settings, jobs: Registry, tasks: Tasks) -> Threads:
    """Return the pool that runs jobs in this process."""
    return Threads(
        jobs,
        {KIND: TaskJob(tasks)},
        workers=settings.job_workers,
        lease=settings.job_lease,
        timeout=settings.job_timeout,
        keep_for=settings.jobs_kept,
    )


def defaults_of(task: TaskSettings) -> TaskDefaults:
    """Return a task's settings as plain values."""
    return TaskDefaults(task.model, task.temperature, task.max_tokens, task.system, task.timeout)
