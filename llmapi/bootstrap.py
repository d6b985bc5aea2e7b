"""The composition root: settings in, the parts the application runs on out. Shared by web server, workers and CLI."""

from llmapi.cache import open_cache
from llmapi.costs.recommendations import Recommendations
from llmapi.db.counting import counters_at
from llmapi.gateway.idempotency import Keys
from llmapi.gateway.retry import Nap, nap
from llmapi.gateway.streams import StreamLog
from llmapi.parts.base import Base, open_base
from llmapi.parts.books import open_books
from llmapi.parts.calling import open_calling
from llmapi.parts.known import open_known
from llmapi.parts.managing import open_managing
from llmapi.parts.telling import open_telling
from llmapi.parts.working import open_working
from llmapi.services import Services
from llmapi.settings import Settings
from llmapi.vendors import chosen


def build(settings: Settings, *, sleep: Nap = nap) -> Services:
    """Return the services for these settings; raises BadSetting. Nothing runs yet; the database is brought up to date.

    sleep: how a retry waits, replaced by tests
    """
    base = open_base(settings, sleep)
    cache = open_cache(
        settings.cache_url,
        entries=settings.cache_entries,
        size=settings.cache_bytes,
        ttl=settings.cache_ttl,
        grace=settings.cache_grace,
    )
    telling = open_telling(base, cache)
    known = open_known(base)
    books = open_books(base, telling.webhooks.outbox)
    calling = open_calling(base, known, books, cache)
    managing = open_managing(base, cache, calling.semantic, calling.tasks)
    working = open_working(base, calling, managing.lookup, telling.webhooks.outbox)
    telling.metrics.watch_gates(calling.guards.gates.states)
    telling.metrics.watch_jobs(working.jobs.depths)
    prices, budgets, models = books.prices, books.budgets, calling.models
    return Services(
        settings=settings,
        engine=base.engine,
        bus=base.bus,
        cache=cache,
        **telling._asdict(),
        **known._asdict(),
        **books._asdict(),
        **calling._asdict(),
        **managing._asdict(),
        **working._asdict(),
        recommendations=Recommendations(base.engine, prices, budgets, lambda: chosen(settings, models)),
        idempotency=open_keys(base),
        streams=StreamLog(base.engine),
        counters_url=counters_of(base),
    )


def open_keys(base: Base) -> Keys:
    """Return the idempotency keys."""
    said = base.settings
    return Keys(base.engine, lease=said.idempotency_lease, retry_unknown=said.idempotency_retry_unknown)


def counters_of(base: Base) -> str:
    """Return where rate limits are counted, as flask-limiter's storage URI."""
    settings = base.settings
    alone = settings.limit_store == "auto" and settings.workers == 1
    url = "memory://" if settings.limit_store == "memory" else settings.limit_url
    return counters_at(url, folder=base.folder, database_url=settings.database_url, alone=alone)
