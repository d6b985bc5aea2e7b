"""Which scope an address needs, by blueprint: one to read (GET, HEAD), one for the rest. Some views have their own.

A new view of a known blueprint needs no line here, a new blueprint needs one: until then only a key with all scopes may
use it, and a test fails.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

from llmapi.core.errors import Forbidden
from llmapi.tenants.roles import ALL, allows

Needed = tuple[str, ...]  # all of them; () is for whoever has a key
READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def both(*scopes: str) -> tuple[Needed, Needed]:
    """Return what needs the same to read and to write."""
    return scopes, scopes


def split(subject: str, write: str = "write") -> tuple[Needed, Needed]:
    """Return what needs one scope to read and another to write."""
    return (f"{subject}:read",), (f"{subject}:{write}",)


ASKING: Final = (
    "text code classify chat chat_completions responses embeddings decisions invoke query streams websocket".split()
)
BY_BLUEPRINT: Final[Mapping[str, tuple[Needed, Needed]]] = MappingProxyType(
    {
        **{name: both("tasks:run") for name in ASKING},
        "kept_responses": split("jobs"),
        "jobs": split("jobs"),
        "dead_letters": split("jobs"),
        "job_events": split("jobs"),
        "files": split("files"),
        "batches": split("batches"),
        "webhooks": split("webhooks"),
        "models": both("models:read"),
        "stats": both("stats:read"),
        "operations": both("stats:read"),
        "me": both(),
        "templates": split("templates"),
        "conversations": both("tasks:run"),
        "feedback": split("feedback"),
        "experiments": split("experiments"),
        "tuning": split("experiments"),
        "usage": both("usage:read"),
        "costs": both("usage:read"),
        "analytics": both("usage:read"),
        "recommendations": both("usage:read"),
        "budgets": split("budgets"),
        "cache": split("cache", "manage"),
        "cache_lookups": both("cache:read"),
        "audit": both("audit:read"),
        "keys": split("keys"),
        "projects": split("keys"),
        "signing_secrets": split("keys"),
        "provider_keys": split("provider-keys"),
        "tenants": split("tenants"),
        "plans": split("admin"),
    }
)
BY_VIEW: Final[Mapping[tuple[str, str], Needed]] = MappingProxyType(
    {
        ("jobs.Jobs", "POST"): ("jobs:write", "tasks:run"),  # a job asks a model
        ("cache.Warm", "POST"): ("cache:manage", "tasks:run"),
        ("batches.Batches", "POST"): ("batches:write", "tasks:run"),
        ("operations.Metrics", "GET"): ("admin:read",),  # numbers of all tenants together
        ("operations.Metrics", "HEAD"): ("admin:read",),
    }
)


def needed_for(endpoint: str, method: str) -> Needed:
    """Return the scopes a view needs; all scopes there are, for one nobody has decided about."""
    if (own := BY_VIEW.get((endpoint, method))) is not None:
        return own
    rule = BY_BLUEPRINT.get(endpoint.partition(".")[0])
    return (ALL,) if rule is None else rule[method not in READING]


def need(endpoint: str, method: str, scopes: Collection[str]) -> None:
    """Raise Forbidden, naming the scope that is missing for a view."""
    if ALL not in scopes:
        need_all(needed_for(endpoint, method), scopes)


def need_all(needed: Needed, scopes: Collection[str]) -> None:
    """Raise Forbidden, naming the scope that is missing."""
    for scope in needed:
        if not allows(scopes, scope):
            raise Forbidden(f"this needs a key with the scope {scope}", scope=scope)
