"""create_app(services): the only place where Flask is assembled."""

import logging
from collections.abc import Callable
from typing import Any

import orjson
from flask import Flask
from flask.json.provider import DefaultJSONProvider
from flask_cors import CORS
from werkzeug.middleware.proxy_fix import ProxyFix

from llmapi.api import auditing, auth, docs, errors, followers, idempotency, limits, observing, under_way
from llmapi.api.health import bp as operations
from llmapi.api.health import probes
from llmapi.api.legacy import bp as invoke
from llmapi.api.legacy import invoke_shape
from llmapi.api.legacy import query
from llmapi.api.openai.batch_doors import doors
from llmapi.api.openai.batches import bp as batches
from llmapi.api.openai.chat import bp as chat_completions
from llmapi.api.openai.decisions import bp as decisions
from llmapi.api.openai.embeddings import bp as embeddings
from llmapi.api.openai.errors import SHAPES
from llmapi.api.openai.files import bp as files
from llmapi.api.openai.responses import bp as responses
from llmapi.api.openai.responses import kept
from llmapi.api.openapi import SETTINGS, new_api
from llmapi.api.request_id import RequestId
from llmapi.api.signatures import signatures
from llmapi.api.stats import bp as stats
from llmapi.api.v1 import websocket
from llmapi.api.v1.audit import bp as audit
from llmapi.api.v1.budgets import bp as budgets
from llmapi.api.v1.cache import bp as cache
from llmapi.api.v1.cache import lookups
from llmapi.api.v1.chat import bp as chat
from llmapi.api.v1.classify import bp as classify
from llmapi.api.v1.code import bp as code
from llmapi.api.v1.costs import bp as costs
from llmapi.api.v1.dead_letters import bp as dead_letters
from llmapi.api.v1.feedback import bp as feedback
from llmapi.api.v1.job_events import bp as job_events
from llmapi.api.v1.jobs import bp as jobs
from llmapi.api.v1.keys import bp as keys
from llmapi.api.v1.me import bp as me
from llmapi.api.v1.models import bp as models
from llmapi.api.v1.plans import bp as plans
from llmapi.api.v1.projects import bp as projects
from llmapi.api.v1.provider_keys import bp as provider_keys
from llmapi.api.v1.provider_keys import signing
from llmapi.api.v1.recommendations import bp as recommendations
from llmapi.api.v1.streams import bp as streams
from llmapi.api.v1.tenants import bp as tenants
from llmapi.api.v1.text import bp as text
from llmapi.api.v1.usage import bp as usage
from llmapi.cli import install as install_commands
from llmapi.api.v1.webhooks import bp as webhooks
from llmapi.services import Services

OPENAI = (chat_completions, responses, kept, embeddings, decisions, files, batches)
WORK = (jobs, dead_letters, job_events, webhooks)
LIVE = (streams, websocket.bp)
ADMIN = (me, keys, projects, tenants, plans, provider_keys, signing, audit)
MONEY = (usage, costs, budgets, recommendations)
KEPT = (cache, lookups, feedback)
OURS = (*LIVE, *WORK, *ADMIN, *MONEY, *KEPT)
BLUEPRINTS = (text, code, classify, chat, *OPENAI, *OURS, models, invoke, query, stats, operations)
EXPOSED = ["X-Request-ID", "Cache-Status", "Server-Timing", "RateLimit", "RateLimit-Policy", "Retry-After", "Location"]
EXPOSED += ["Idempotent-Replayed", "X-Cost-USD", "X-Stream-ID"]


class Json(DefaultJSONProvider):
    """orjson: the same JSON in a fraction of the time."""

    def dumps(self, obj: object, **_: object) -> str:
        return orjson.dumps(obj, default=self.default).decode()

    def loads(self, s: str | bytes, **_: object) -> object:
        return orjson.loads(s)


class QuickFlask(Flask):
    """Flask without its look, sixteen times a request, at whether a function is a coroutine: none of ours is."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func


def create_app(services: Services) -> Flask:
    """Return the application on top of ready-made services. Nothing is started or connected here."""
    app = QuickFlask("llmapi", static_folder=None, template_folder="api/templates")
    app.json = Json(app)
    settings = services.settings
    app.config.update(SETTINGS, MAX_CONTENT_LENGTH=settings.max_body, PROPAGATE_EXCEPTIONS=False)
    app.extensions["llmapi"] = services
    for lines in (services.batches.job, services.warming.questions):
        lines.serve(doors())
    app.logger.setLevel(logging.WARNING)
    app.url_map.strict_slashes = False

    observing.install(app)
    auth.install(
        app,
        required=settings.auth == "required",
        callers=auth.Callers(auth.StaticKeys(settings.api_keys), services.keyring, signatures(services)),
        hosts=settings.allowed_hosts,
        others={websocket.ENDPOINT: websocket.ticket_holder},
    )
    auditing.install(app)
    websocket.install(app, services)
    limit(app, services)
    api = new_api(app)
    for blueprint in (*BLUEPRINTS, probes, docs.front):
        api.register_blueprint(blueprint)
    under_way.install(app, services.under_way, under_way.most_by(services.plans, settings.quotas.key_concurrency))
    followers.install(app, followers.Followers(settings.threads))
    idempotency.install(app, services.idempotency)
    if settings.docs:
        docs.install(app, api.document)
    errors.install(app, shapes={**SHAPES, "/invoke": invoke_shape})
    if settings.cors_origins:
        CORS(app, origins=list(settings.cors_origins), expose_headers=EXPOSED, max_age=600)
    install_commands(app)
    app.wsgi_app = RequestId(app.wsgi_app)  # type: ignore[method-assign]
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    return app


def limit(app: Flask, services: Services) -> None:
    """Put every route under its limits."""
    said = services.settings
    limiter = limits.install(
        app,
        (*BLUEPRINTS, docs.bp),
        said.limits.model_dump(),
        services.counters_url,
        more={"key": said.limit_key, "user": said.limit_user, "tenant": said.limit_tenant},
        plan=services.plans.get,
        workers=said.workers,
    )
    services.attached.append(limiter)
