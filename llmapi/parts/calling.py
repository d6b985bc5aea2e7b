"""The line a question goes along, from the tasks to the vendors."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from llmapi.core.calls import CacheWish
from llmapi.core.contracts import AnswerCache, Bus, Provider
from llmapi.gateway.breaker import Breakers
from llmapi.gateway.overload import Gates
from llmapi.gateway.preview import Preview
from llmapi.gateway.quota import Quota
from llmapi.gateway.recipe import Guards, build_gateway
from llmapi.gateway.retry_budget import RetryBudget
from llmapi.gateway.semantic import Semantic
from llmapi.parts.base import Base
from llmapi.parts.books import Books
from llmapi.parts.known import Known, hidden
from llmapi.parts.semantic import open_semantic
from llmapi.providers.catalog import Catalog
from llmapi.providers.transport import Transport
from llmapi.setting_tables import TaskSettings
from llmapi.settings import Settings
from llmapi.tasks.asked import Asked
from llmapi.tasks.chat import ChatTask
from llmapi.tasks.decisions import DecisionsTask
from llmapi.tasks.embed import EmbedTask
from llmapi.tasks.judge import Judge
from llmapi.tasks.kinds import ClassifyTask, CodeTask, TextTask
from llmapi.tasks.runner import Task, TaskDefaults, Tasks
from llmapi.tenants.allowances import Allowances, PlanNames, Tokens, Usual, model_limits
from llmapi.tenants.quotas import Quotas
from llmapi.vendors import configured, open_models, open_providers

LOCAL_QUEUE = 32  # calls that may wait for each slot of the embedded model


class Calling(NamedTuple):
    """The parts that answer questions."""

    tasks: Tasks
    models: Catalog
    providers: Mapping[str, Provider]
    transport: Transport
    guards: Guards
    semantic: Semantic
    asked: Asked


def open_calling(base: Base, known: Known, books: Books, cache: AnswerCache) -> Calling:
    """Return them; raises BadSetting."""
    settings = base.settings
    transport, guards, stored = Transport(), open_guards(settings, base.bus), known.provider_keys
    providers = open_providers(settings, transport, base.folder)
    usable = configured(settings, providers)
    models = open_models(settings, usable)
    semantic = open_semantic(base, providers)
    gateway = build_gateway(
        providers=providers,
        cache=cache,
        bus=base.bus,
        prices=books.prices,
        guards=guards,
        quota=open_quota(base, known, books),
        budgeting=books.budgeting(hidden(stored)),
        keys=hidden(stored),
        semantic=semantic,
        attempts=settings.retry_attempts,
        sleep=base.sleep,
    )
    semantic.judged_by(Judge(gateway, models, settings.semantic.judge_model))
    asked = Asked(base.engine, settings.requests_kept)
    tasks = Tasks(
        open_tasks(settings, models),
        gateway=gateway,
        models=models,
        prices=books.prices,
        preview=Preview(cache, books.prices),
        defaults=open_defaults(settings),
        stored=stored.providers_of,
        asked=asked.note,
    )
    return Calling(tasks, models, usable, transport, guards, semantic, asked)


def open_quota(base: Base, known: Known, books: Books) -> Quota:
    """Return what keeps calls within the limits of tokens, requests and money."""
    said = base.settings.quotas
    usual = Usual(
        Tokens(said.tokens_per_minute, said.tokens_per_day),
        Tokens(said.key_tokens_per_minute, said.key_tokens_per_day),
        Tokens(said.user_tokens_per_minute, said.user_tokens_per_day),
        model_limits(said.models),
    )
    allowances = Allowances(usual, PlanNames(base.engine, known.plans))
    return Quota(Quotas(base.engine), allowances, books.prices, hidden(known.provider_keys))


def open_guards(settings: Settings, bus: Bus) -> Guards:
    """Return what keeps calls from a provider in trouble."""
    embedded = {"local": min(settings.in_flight, settings.local_slots * LOCAL_QUEUE)}
    return Guards(
        Breakers(bus, ratio=settings.breaker_ratio, least=settings.breaker_calls, rest=settings.breaker_rest),
        Gates(embedded, most=settings.in_flight, wait=settings.queue_wait),
        RetryBudget(settings.retry_ratio),
    )


def open_tasks(settings: Settings, models: Catalog) -> dict[str, Task]:
    """Return the tasks by name."""
    return {
        "text": TextTask(settings.text.system),
        "code": CodeTask(settings.code.system),
        "classify": ClassifyTask(models, votes=settings.votes, system=settings.classify.system),
        "chat": ChatTask(settings.chat.system),
        "embed": EmbedTask(),
        "decisions": DecisionsTask(models, votes=settings.votes, system=settings.classify.system),
    }


def open_defaults(settings: Settings) -> dict[str, TaskDefaults]:
    """Return what each task uses when the caller does not say."""
    found = {name: defaults_of(getattr(settings, name)) for name in ("text", "code", "classify", "chat", "embed")}
    return {**found, "decisions": replace(found["classify"], model=settings.classify.model or "classify")}


def defaults_of(task: TaskSettings) -> TaskDefaults:
    """Return a task's settings as plain values."""
    wish = CacheWish(
        ttl=task.cache_ttl,
        stale_while_revalidate=task.stale_while_revalidate,
        stale_if_error=task.stale_if_error,
    )
    return TaskDefaults(task.model, task.temperature, task.max_tokens, task.system, task.timeout, wish)
