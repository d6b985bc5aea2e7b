"""What a key may do: scopes, patterns over them, and four roles that are names for sets of them."""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from llmapi.core.errors import Forbidden, ValidationFailed

ALL: Final = "*"
OPERATORS_TENANT: Final = "default"  # whoever runs the service; its admins act on every tenant

SCOPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "tasks:run": "ask models: tasks, batches' lines, WebSockets, and the compatible routes",
        "jobs:read": "see jobs, their results and events",
        "jobs:write": "cancel jobs, send dead ones again or delete them",
        "files:read": "list and download files",
        "files:write": "upload and delete files",
        "batches:read": "see batches",
        "batches:write": "make and cancel batches",
        "webhooks:read": "see webhooks and their deliveries",
        "webhooks:write": "make, change and delete webhooks, rotate their secrets",
        "usage:read": "see use, costs and recommendations",
        "budgets:read": "see budgets and what is left of them",
        "budgets:write": "set and delete budgets",
        "cache:read": "see what the cache holds and saves",
        "cache:manage": "empty, warm and tune the cache",
        "templates:read": "see prompt templates",
        "templates:write": "make and change prompt templates",
        "feedback:read": "see feedback on answers",
        "feedback:write": "say how good an answer was",
        "experiments:read": "see experiments and tuning",
        "experiments:write": "begin, change and end experiments and tuning",
        "models:read": "list models",
        "stats:read": "see health and the numbers of /stats",
        "audit:read": "see the audit trail",
        "keys:read": "see keys and projects, never their secrets",
        "keys:write": "make, change, rotate and revoke keys; make and delete projects",
        "provider-keys:read": "see which provider keys are stored, never the keys",
        "provider-keys:write": "store and delete provider keys",
        "tenants:read": "operator: see all tenants, and what is another tenant's",
        "tenants:write": "operator: make, change and suspend tenants, and act for them",
        "admin:read": "operator: see what all tenants share, such as /metrics and plans",
        "admin:write": "operator: change what all tenants share, such as plans",
    }
)
OPERATORS: Final = ("tenants:", "admin:")  # what these begin is for keys of the operator's tenant alone

VIEWER: Final = frozenset(
    "jobs:read files:read batches:read webhooks:read usage:read budgets:read cache:read templates:read feedback:read "
    "experiments:read models:read stats:read".split()
)
DEVELOPER: Final = frozenset(
    "tasks:* jobs:* files:* batches:* webhooks:* usage:read budgets:read cache:read templates:* feedback:* "
    "experiments:read models:* stats:*".split()
)
MANAGER: Final = DEVELOPER | frozenset("budgets:* cache:* experiments:* audit:read keys:read usage:*".split())
ADMIN: Final = frozenset(f"{scope.partition(':')[0]}:*" for scope in SCOPES if not scope.startswith(OPERATORS))
ROLES: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {"admin": ADMIN, "manager": MANAGER, "developer": DEVELOPER, "viewer": VIEWER}
)


def allows(scopes: Collection[str], needed: str) -> bool:
    """Say whether scopes, which may be patterns, take in a scope or a whole pattern."""
    return needed in scopes or ALL in scopes or f"{needed.partition(':')[0]}:*" in scopes


def scopes_of(tenant: str, role: str) -> frozenset[str]:
    """Return what a role of a tenant may: an admin of the operator's tenant everything."""
    return frozenset({ALL}) if (tenant, role) == (OPERATORS_TENANT, "admin") else ROLES[role]


def checked_scopes(tenant: str, role: str, scopes: Iterable[str] | None) -> frozenset[str]:
    """Return what a key of a role may, with fewer scopes than the role's if some are named; raises ValidationFailed."""
    if role not in ROLES:
        raise ValidationFailed("there is no such role", fields={"role": [f"Must be one of: {', '.join(ROLES)}."]})
    granted = scopes_of(tenant, role)
    if scopes is None:
        return granted
    wanted = frozenset(scopes)
    if unknown := sorted(scope for scope in wanted if not is_scope(scope)):
        raise ValidationFailed("there is no such scope", fields={"scopes": [f"{unknown[0][:64]!r} is no scope."]})
    if beyond := sorted(scope for scope in wanted if not allows(granted, scope)):
        raise ValidationFailed(
            "a role does not take in a scope", fields={"scopes": [f"{beyond[0]} is not for the role {role} here."]}
        )
    return wanted


def is_scope(scope: str) -> bool:
    """Say whether this is a scope, or a pattern that takes in some."""
    return scope == ALL or scope in SCOPES or (scope.endswith(":*") and scope[:-1] in subjects())


def subjects() -> frozenset[str]:
    """Return what scopes are about, each with its colon."""
    return frozenset(f"{scope.partition(':')[0]}:" for scope in SCOPES)


def need_within(wanted: Iterable[str], own: Collection[str]) -> None:
    """Raise Forbidden, naming it, if one of these scopes is not among somebody's own: nobody hands out more."""
    if beyond := sorted(scope for scope in wanted if not allows(own, scope)):
        raise Forbidden(f"your key has not the scope {beyond[0]}, so it cannot give it", scope=beyond[0])
