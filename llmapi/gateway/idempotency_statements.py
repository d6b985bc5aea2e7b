"""The SQL of idempotency keys: each change of a row is one conditional statement."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, Connection, Delete, Row, Select, Update
from sqlalchemy import and_, bindparam, delete, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from llmapi.db.tables.idempotency import idempotency_keys as keys
from llmapi.db.tables.idempotency import idempotency_secret

INSERTS: Mapping[str, Any] = MappingProxyType({"sqlite": sqlite.insert, "postgresql": postgresql.insert})
HELD = ("claimed", "sent")
MINE = ("claimed", "sent", "unknown")  # what whoever began a request may still end: the truth may come late
PURGED_AT_ONCE = 500  # rows one clean-up deletes, so that it never holds up others for long
SECRET = 1  # the id of the only one


def named(name: tuple[str, str, str]) -> ColumnElement[bool]:
    """Say which row."""
    tenant, route, key = name
    return and_(keys.c.tenant == tenant, keys.c.route == route, keys.c.key == key)


def claim(connection: Connection, row: Mapping[str, Any], now: datetime, *, doubts_too: bool) -> bool:
    """Put a row in for its owner; says whether it could: the key is new, or free again.

    doubts_too: a request whose outcome is not known is free too, for the same body
    """
    left = keys.c.lease_until <= now
    over = keys.c.state.not_in(HELD) | left
    free = or_(and_(keys.c.expires <= now, over), and_(keys.c.state == "claimed", left))
    if doubts_too:
        doubtful = or_(keys.c.state == "unknown", and_(keys.c.state == "sent", left))
        free = or_(free, and_(doubtful, keys.c.fingerprint == row["fingerprint"]))
    fresh = {**row, "status": None, "headers": None, "body": None, "encoding": None}
    put = INSERTS[connection.dialect.name](keys).values(fresh)
    put = put.on_conflict_do_update(index_elements=list(keys.primary_key), set_=fresh, where=free)
    return connection.execute(put.returning(keys.c.owner)).first() is not None


def doubt(name: tuple[str, str, str], now: datetime) -> Update:
    """Say of a request that was sent and whose worker is gone that nobody knows what became of it."""
    lost = and_(keys.c.state == "sent", keys.c.lease_until <= now)
    return update(keys).where(named(name), lost).values(state="unknown", lease_until=None)


def seen(name: tuple[str, str, str]) -> Select[Any]:
    return select(keys).where(named(name))


def state(name: tuple[str, str, str]) -> Select[Any]:
    return select(keys.c.state, keys.c.lease_until).where(named(name))


def send(name: tuple[str, str, str], owner: str, until: datetime) -> Update:
    """Note that the provider is about to be asked."""
    mine = (named(name), keys.c.owner == owner, keys.c.state == "claimed")
    return update(keys).where(*mine).values(state="sent", lease_until=until)


def end(name: tuple[str, str, str], owner: str, values: Mapping[str, Any]) -> Update:
    """Put in how it ended."""
    mine = (named(name), keys.c.owner == owner, keys.c.state.in_(MINE))
    return update(keys).where(*mine).values({**values, "lease_until": None})


def free(name: tuple[str, str, str], owner: str) -> Delete:
    """Forget a request that came to nothing."""
    return delete(keys).where(named(name), keys.c.owner == owner, keys.c.state.in_(MINE))


def beat(connection: Connection, names: list[tuple[str, str, str, str]], until: datetime) -> None:
    """Extend the leases of (tenant, route, key, owner)."""
    mine = and_(
        keys.c.tenant == bindparam("of_tenant"),
        keys.c.route == bindparam("of_route"),
        keys.c.key == bindparam("of_key"),
        keys.c.owner == bindparam("of_owner"),
        or_(*(keys.c.state == state for state in HELD)),  # IN does not go with many rows at once
    )
    rows = [dict(zip(("of_tenant", "of_route", "of_key", "of_owner"), name, strict=True)) for name in names]
    connection.execute(update(keys).where(mine).values(lease_until=until), rows)


def purge(now: datetime) -> Delete:
    """Delete the rows whose time is over, some at once."""
    ended = or_(keys.c.state.not_in(HELD), keys.c.lease_until <= now)
    old = select(keys.c.tenant, keys.c.route, keys.c.key).where(keys.c.expires <= now, ended)
    chosen = old.order_by(keys.c.expires).limit(PURGED_AT_ONCE)
    return delete(keys).where(tuple_(keys.c.tenant, keys.c.route, keys.c.key).in_(chosen))


def secret(connection: Connection, fresh: bytes) -> bytes:
    """Return the one secret of this database, which is `fresh` when there was none."""
    put = INSERTS[connection.dialect.name](idempotency_secret).values(id=SECRET, value=fresh)
    connection.execute(put.on_conflict_do_nothing())
    found: Row[Any] = connection.execute(select(idempotency_secret.c.value)).one()
    return bytes(found[0])
