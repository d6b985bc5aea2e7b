"""The composition root: settings in, the parts the application runs on out. Shared by web server, workers and CLI."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine

from llmapi.books import open_books
from llmapi.cache import open_cache
from llmapi.core.contracts import AnswerCache, Bus, Prices, Provider
from llmapi.core.reply import Handler
from llmapi.costs.prices import GenaiPrices
from llmapi.costs.recommendations import Recommendations
from llmapi.db.counting import counters_at
from llmapi.db.engine import open_engine
from llmapi.db.kept_secrets import kept_secret
from llmapi.db.schema import upgrade
from llmapi.events.audit import Audit
from llmapi.events.bus import EventBus
from llmapi.events.logs import log_calls
from llmapi.events.metrics import Metrics
from llmapi.events.redaction import hide
from llmapi.events.webhook_outbox import WebhookOutbox
from llmapi.events.webhooks import open_webhooks
from llmapi.gateway.breaker import Breakers
from llmapi.gateway.idempotency import Keys
from llmapi.gateway.overload import Gates
from llmapi.gateway.pipeline import Stage
from llmapi.gateway.preview import Preview
from llmapi.gateway.quota import Quota
from llmapi.gateway.recipe import Guards, build_gateway
from llmapi.gateway.retry_budget import RetryBudget
from llmapi.gateway.retry import Nap, nap
from llmapi.gateway.route import StoredKeys
from llmapi.gateway.streams import StreamLog
from llmapi.jobs import engines
from llmapi.jobs.engines import JobEngine, Pace
from llmapi.jobs.job import ENDED
from llmapi.jobs.priorities import NO_LIMIT, Rules
from llmapi.jobs.registry import Registry
from llmapi.jobs.running import Backoff
from llmapi.providers.catalog import Catalog
from llmapi.providers.rows import MODELS
from llmapi.providers.transport import Transport
from llmapi.services import Services
from llmapi.setting_tables import TaskSettings
from llmapi.settings import Settings
from llmapi.tasks import batches
from llmapi.tasks.chat import ChatTask
from llmapi.tasks.decisions import DecisionsTask
from llmapi.tasks.embed import EmbedTask
from llmapi.tasks.kinds import ClassifyTask, CodeTask, TextTask
from llmapi.tasks.later import KIND, TaskJob
from llmapi.tasks.runner import Task, TaskDefaults, Tasks
from llmapi.tenants.allowances import Allowances, PlanNames, Tokens, Usual, model_limits
from llmapi.tenants.keys import Keyring
from llmapi.tenants.nonces import Nonces
from llmapi.tenants.plans import Plans
from llmapi.tenants.quotas import Quotas
from llmapi.tenants.provider_keys import ProviderKeys
from llmapi.tenants.sealing import Seal
from llmapi.tenants.signing import Signatures, SigningSecrets
from llmapi.tenants.tenants import Tenants
from llmapi.tenants.under_way import UnderWay
from llmapi.vendors import chosen, configured, key_takers, open_models, open_providers

LOCAL_QUEUE = 32  # calls that may wait for each slot of the embedded model


class Calling(NamedTuple):
    """The parts that answer questions."""

    tasks: Tasks
    models: Catalog
    providers: Mapping[str, Provider]
    transport: Transport
    prices: Prices
    guards: Guards


class Known(NamedTuple):
    """The parts that know who asks."""

    keyring: Keyring
    tenants: Tenants
    signatures: Signatures


def build(settings: Settings, *, sleep: Nap = nap) -> Services:
    """Return the services for these settings; raises BadSetting. Nothing runs yet; the database is brought up to date.

    sleep: how a retry waits, replaced by tests
    """
    folder = settings.data_dir.absolute()
    engine = open_engine(settings.database_url, folder=folder)
    upgrade(engine)
    cache = open_cache(settings.cache_url, entries=settings.cache_entries, ttl=settings.cache_ttl)
    metrics = open_metrics(settings, cache, folder)
    bus = EventBus([metrics, log_calls])
    plans, prices = Plans(engine), open_prices(settings)
    quota = open_quota(settings, engine, plans, prices)
    seal = Seal(key.get_secret_value() for key in settings.secret_key)
    stored = ProviderKeys(engine, seal, providers=key_takers(settings))
    stored.check()
    webhooks = open_webhooks(engine, allow=settings.webhook_allow, key=settings.webhook_key.get_secret_value())
    books = open_books(settings, engine, bus, prices, webhooks.outbox)
    bus.listen(books.ledger)
    held = books.budgeting(prices, hidden(stored))
    calling = open_calling(settings, folder, cache, bus, sleep, prices=prices, quota=quota, held=held, stored=stored)
    metrics.watch_gates(calling.guards.gates.states)
    jobs = open_jobs(settings, engine, bus, webhooks.outbox)
    many = open_batches(settings, engine, jobs, calling.tasks, webhooks.outbox, sleep)
    metrics.watch_jobs(jobs.depths)
    return Services(
        **calling._asdict(),
        settings=settings,
        cache=cache,
        metrics=metrics,
        engine=engine,
        bus=bus,
        jobs=jobs,
        job_engine=open_job_engine(settings, jobs, engine, {KIND: TaskJob(calling.tasks), batches.KIND: many.job}),
        webhooks=webhooks,
        idempotency=open_keys(settings, engine),
        streams=StreamLog(engine),
        audit=Audit(engine, kept_secret("audit_key", settings.audit_key.get_secret_value(), folder), folder),
        batches=many,
        **books._asdict(),
        recommendations=Recommendations(engine, prices, books.budgets, lambda: chosen(settings, calling.models)),
        plans=plans,
        under_way=UnderWay(engine),
        provider_keys=stored,
        **open_identity(settings, engine, folder, seal)._asdict(),
        counters_url=counters_of(settings, folder),
    )


def open_calling(
    settings: Settings,
    folder: Path,
    cache: AnswerCache,
    bus: Bus,
    sleep: Nap,
    *,
    prices: Prices,
    quota: Quota,
    held: Stage,
    stored: ProviderKeys,
) -> Calling:
    """Return the line a question goes along, from the tasks to the vendors."""
    transport, guards = Transport(), open_guards(settings, bus)
    providers = open_providers(settings, transport, folder)
    usable = configured(settings, providers)
    models = open_models(settings, usable)
    gateway = build_gateway(
        providers=providers,
        cache=cache,
        bus=bus,
        prices=prices,
        guards=guards,
        quota=quota,
        budgeting=held,
        keys=hidden(stored),
        attempts=settings.retry_attempts,
        sleep=sleep,
    )
    tasks = open_tasks(settings, gateway, models, prices, Preview(cache, prices), stored)
    return Calling(tasks, models, usable, transport, prices, guards)


def hidden(stored: ProviderKeys) -> StoredKeys:
    """Return tenants' stored keys, or "", as the gateway asks for them: no log line shows one in use."""

    def key(tenant: str, provider: str) -> str:
        if (found := stored.get(tenant, provider)) is None:
            return ""
        hide(found.get_secret_value())
        return found.get_secret_value()

    return key


def open_identity(settings: Settings, engine: Engine, folder: Path, seal: Seal) -> Known:
    """Return keys and tenants; where no pepper is set, one is made in the data folder at the first start."""
    keyring = Keyring(engine, kept_secret("key_pepper", settings.key_pepper.get_secret_value(), folder))
    signatures = Signatures(SigningSecrets(engine, seal), Nonces(engine))
    return Known(keyring, Tenants(engine, changed=keyring.changed), signatures)


def open_prices(settings: Settings) -> GenaiPrices:
    """Return what tokens cost."""
    return GenaiPrices({name: price.model_dump(exclude_none=True) for name, price in settings.prices.items()})


def open_quota(settings: Settings, engine: Engine, plans: Plans, prices: GenaiPrices) -> Quota:
    """Return what keeps calls within the limits of tokens, requests and money."""
    said = settings.quotas
    usual = Usual(
        Tokens(said.tokens_per_minute, said.tokens_per_day),
        Tokens(said.key_tokens_per_minute, said.key_tokens_per_day),
        Tokens(said.user_tokens_per_minute, said.user_tokens_per_day),
        model_limits(said.models),
    )
    return Quota(Quotas(engine), Allowances(usual, PlanNames(engine, plans)), prices)


def open_metrics(settings: Settings, cache: AnswerCache, folder: Path) -> Metrics:
    """Return the numbers, in which every model that is known from the start has series of its own."""
    known = [model.name for model in MODELS]
    return Metrics(cache, workers=settings.workers, folder=folder, models=known)


def open_keys(settings: Settings, engine: Engine) -> Keys:
    """Return the idempotency keys."""
    return Keys(engine, lease=settings.idempotency_lease, retry_unknown=settings.idempotency_retry_unknown)


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
    alone = settings.limit_store == "auto" and settings.workers == 1
    url = "memory://" if settings.limit_store == "memory" else settings.limit_url
    return counters_at(url, folder=folder, database_url=settings.database_url, alone=alone)


def open_tasks(
    settings: Settings, gateway: Handler, models: Catalog, prices: Prices, preview: Preview, stored: ProviderKeys
) -> Tasks:
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
    return Tasks(
        tasks,
        gateway=gateway,
        models=models,
        prices=prices,
        preview=preview,
        defaults=defaults,
        stored=stored.providers_of,
    )


def open_jobs(settings: Settings, engine: Engine, bus: Bus, outbox: WebhookOutbox) -> Registry:
    """Return the jobs; whoever asked to hear of their ends is told without delay."""
    rules = Rules(settings.job_ageing, settings.job_tenant_running or NO_LIMIT)
    jobs = Registry(engine, bus, outbox=outbox, max_attempts=settings.job_attempts, rules=rules)
    jobs.on_change(lambda job: outbox.wake() if job.status in ENDED else None)
    return jobs


def open_batches(
    settings: Settings, engine: Engine, jobs: Registry, tasks: Tasks, outbox: WebhookOutbox, sleep: Nap
) -> batches.Batches:
    """Return files and batches; the application tells their job which endpoints there are."""
    return batches.open_batches(
        engine,
        jobs,
        tasks,
        outbox=outbox,
        concurrency=settings.batch_concurrency,
        largest=settings.max_file,
        keep_for=settings.files_kept,
        sleep=sleep,
    )


def open_job_engine(settings: Settings, jobs: Registry, engine: Engine, kinds: engines.Kinds) -> JobEngine:
    """Return what runs jobs, in this process or elsewhere."""
    pace = Pace(
        workers=settings.job_workers,
        lease=settings.job_lease,
        timeout=settings.job_timeout,
        keep_for=settings.jobs_kept,
        backoff=Backoff(settings.job_backoff),
    )
    return engines.open_engine(settings.jobs_url, jobs, engine, kinds, pace)


def defaults_of(task: TaskSettings) -> TaskDefaults:
    """Return a task's settings as plain values."""
    return TaskDefaults(task.model, task.temperature, task.max_tokens, task.system, task.timeout)
