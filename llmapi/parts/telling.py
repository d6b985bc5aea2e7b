"""The parts that are told what happened."""

from typing import NamedTuple

from llmapi.core.contracts import AnswerCache
from llmapi.db.kept_secrets import kept_secret
from llmapi.events.audit import Audit
from llmapi.events.metrics import Metrics
from llmapi.events.webhooks import Webhooks, open_webhooks
from llmapi.parts.base import Base
from llmapi.providers.rows import MODELS


class Telling(NamedTuple):
    """Numbers for operators, notices for tenants, the audit chain."""

    metrics: Metrics
    webhooks: Webhooks
    audit: Audit


def open_telling(base: Base, cache: AnswerCache) -> Telling:
    """Return them; the numbers listen on the bus, and every model known from the start has series of its own."""
    settings, folder = base.settings, base.folder
    metrics = Metrics(cache, workers=settings.workers, folder=folder, models=[model.name for model in MODELS])
    base.bus.listen(metrics)
    webhooks = open_webhooks(base.engine, allow=settings.webhook_allow, key=settings.webhook_key.get_secret_value())
    key = kept_secret("audit_key", settings.audit_key.get_secret_value(), folder)
    return Telling(metrics, webhooks, Audit(base.engine, key, folder))
