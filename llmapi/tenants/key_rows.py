"""A key as it is kept and shown, and what is asked of the values it is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import Connection, RowMapping, Select, select

from llmapi.core.errors import NotFound, ValidationFailed
from llmapi.db.tables.identity import keys, projects, tenants
from llmapi.tenants.roles import scopes_of

ACTIVE: Final = "active"
REVOKED: Final = "revoked"
SUSPENDED: Final = "suspended"  # of a tenant
LONGEST_NAME: Final = 128
LONGEST_LIFE: Final = timedelta(days=3660)
MOST_ADDRESSES: Final = 64


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key, without anything secret."""

    id: str
    tenant: str
    project: str
    name: str
    role: str
    scopes: tuple[str, ...] | None  # None: all of the role's
    addresses: tuple[str, ...]  # networks it may be used from; empty: any
    requires_signature: bool
    may_name_user: bool
    plan: str
    state: str
    previous_until: datetime | None  # until when the secret before the last rotation is good too
    expires: datetime | None
    created: datetime
    last_used: datetime | None  # to the minute

    @property
    def granted(self) -> frozenset[str]:
        """Return all it may do."""
        return scopes_of(self.tenant, self.role) if self.scopes is None else frozenset(self.scopes)

    @classmethod
    def of(cls, row: RowMapping) -> "ApiKey":
        """Return a row as a key."""
        kept = {each.name: row[each.name] for each in fields(cls)}
        scopes = None if row["scopes"] is None else tuple(orjson.loads(row["scopes"]))
        return cls(**{**kept, "scopes": scopes, "addresses": tuple(orjson.loads(row["addresses"]))})


@dataclass(frozen=True, slots=True)
class KeyPage:
    """Some of a tenant's keys; `after` asks for the next ones, None: there are none."""

    keys: tuple[ApiKey, ...]
    after: str | None


def as_kept(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as the columns take them."""
    kept = dict(values)
    if kept.get("scopes") is not None:
        kept["scopes"] = orjson.dumps(sorted(kept["scopes"])).decode()
    if "addresses" in kept:
        kept["addresses"] = orjson.dumps(list(kept["addresses"])).decode()
    return kept


def mine(tenant: str, id: str) -> Select[Any]:
    """Select a tenant's key."""
    return select(*keys.c).where(keys.c.id == id, keys.c.tenant == tenant)


def one(row: RowMapping | None) -> RowMapping:
    """Return the row; raises NotFound, for somebody else's key as for one that is not."""
    if row is None:
        raise NotFound("There is no such key.")
    return row


def any_active(connection: Connection) -> bool:
    """Say whether there is a key that may be good, of whatever tenant."""
    return connection.execute(select(keys.c.id).where(keys.c.state == ACTIVE).limit(1)).first() is not None


def need_good_name(name: str, field: str = "name") -> None:
    """Raise ValidationFailed for a name nobody could read."""
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable() or not name.strip():
        raise ValidationFailed("a name is not good", fields={field: [f"1 to {LONGEST_NAME} printable characters."]})


def need_future(expires: datetime | None, now: datetime) -> None:
    """Raise ValidationFailed for a key that would never be good, or for longer than any is."""
    if expires is not None and (expires.tzinfo is None or expires <= now):
        raise ValidationFailed("a key expires in the future", fields={"expires": ["Must be later than now."]})
    if expires is not None and expires > now + LONGEST_LIFE:
        wrong = f"At most {LONGEST_LIFE.days} days ahead."
        raise ValidationFailed("a key expires too late", fields={"expires": [wrong]})


def need_few(addresses: tuple[str, ...]) -> None:
    """Raise ValidationFailed for more networks than are looked through with each request."""
    if len(addresses) > MOST_ADDRESSES:
        raise ValidationFailed("too many addresses", fields={"addresses": [f"At most {MOST_ADDRESSES}."]})


def need_tenant(connection: Connection, tenant: str) -> None:
    """Raise NotFound if there is no such tenant."""
    if connection.execute(select(tenants.c.id).where(tenants.c.id == tenant)).one_or_none() is None:
        raise NotFound("There is no such tenant.")


def need_project(connection: Connection, tenant: str, project: str) -> None:
    """Raise ValidationFailed if a tenant has no such project; "" is none, which is good."""
    known = select(projects.c.id).where(projects.c.tenant == tenant, projects.c.id == project)
    if project and connection.execute(known).one_or_none() is None:
        raise ValidationFailed("there is no such project", fields={"project": ["There is no such project."]})
