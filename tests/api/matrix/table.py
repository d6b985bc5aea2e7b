"""Who may do what, written down a second time: by role, and by the blueprint of an address.

o: an admin of the operator's tenant; a, m, d, v: admin, manager, developer, viewer of any other tenant;
n: a key without any scope; nobody: no key at all, whom only public addresses answer.
"""

import pytest

from tests.api.matrix.document import Operation

ROLES = {"o": "admin", "a": "admin", "m": "manager", "d": "developer", "v": "viewer", "n": "viewer"}
NEW_BLUEPRINT = """{operation} belongs to the blueprint {blueprint}, of which this matrix does not know who may use it.
In tests/api/matrix/table.py give MAY a row: the roles that may read (GET), and the roles that may do the rest."""

ASKING = ("oamd", "oamd")
WORKING = ("oamdv", "oamd")
KEYS = ("oam", "oa")
OPERATING = ("o", "o")
MAY: dict[str, tuple[str, str]] = {  # blueprint: who may read, who may do the rest
    "text": ASKING,
    "code": ASKING,
    "classify": ASKING,
    "chat": ASKING,
    "chat_completions": ASKING,
    "responses": ASKING,
    "embeddings": ASKING,
    "decisions": ASKING,
    "invoke": ASKING,
    "query": ASKING,
    "websocket": ASKING,
    "streams": ASKING,
    "kept_responses": WORKING,
    "files": WORKING,
    "batches": WORKING,
    "jobs": WORKING,
    "dead_letters": WORKING,
    "job_events": WORKING,
    "webhooks": WORKING,
    "models": ("oamdv", ""),
    "stats": ("oamdv", ""),
    "operations": ("oamdv", ""),
    "usage": ("oamdv", ""),
    "costs": ("oamdv", ""),
    "recommendations": ("oamdv", ""),
    "budgets": ("oamdv", "oam"),
    "audit": ("oam", ""),
    "cache": ("oamdv", "oam"),
    "cache_lookups": ("oamdv", "oamdv"),
    "feedback": ("oamdv", "oamd"),
    "keys": KEYS,
    "signing_secrets": KEYS,
    "provider_keys": ("oa", "oa"),
    "projects": KEYS,
    "tenants": OPERATING,
    "plans": OPERATING,
    "me": ("oamdvn", ""),
}
EXCEPTIONS = {("GET", "/metrics"): "o"}
PUBLIC = {"/", "/livez", "/readyz"}


def who_may(operation: Operation) -> str:
    """Return the roles that may; an address nobody has decided about fails the test."""
    if operation.path in PUBLIC:
        return "".join(ROLES)
    if operation.blueprint not in MAY:
        pytest.fail(NEW_BLUEPRINT.format(operation=operation, blueprint=operation.blueprint), pytrace=False)
    read, rest = MAY[operation.blueprint]
    return EXCEPTIONS.get((operation.method, operation.path), read if operation.method == "GET" else rest)
