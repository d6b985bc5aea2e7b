"""The SQL of quotas: counts are locked in the order of their names, and holds only change under the lock of theirs."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, Engine, bindparam, delete, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from llmapi.db.engine import reading, writing
from llmapi.db.tables.limits import counts, holds
from llmapi.tenants.windows import Count, instant_of

INSERTS: Mapping[str, Any] = MappingProxyType({"sqlite": sqlite.insert, "postgresql": postgresql.insert})
AT_ONCE = 200  # rows of one clean-up

Name = tuple[str, str]  # tenant, and what the count is kept under


class Part(NamedTuple):
    """What a hold has of one count; `window` as in Limit, `number` of a slice."""

    name: str
    window: int
    number: int
    held: int


class Kept(NamedTuple):
    """A hold as it is kept."""

    id: str
    tenant: str
    parts: tuple[Part, ...]


LOCK = (
    select(counts.c.tenant, counts.c.name, counts.c.slices)
    .where(tuple_(counts.c.tenant, counts.c.name).in_(bindparam("names", expanding=True)))
    .order_by(counts.c.tenant, counts.c.name)
    .with_for_update()
)
SAVE = update(counts).where(counts.c.tenant == bindparam("of_tenant"), counts.c.name == bindparam("of_name"))
DROP = delete(holds).where(holds.c.id.in_(bindparam("ids", expanding=True))).returning(holds.c.id)
LAPSED = (
    select(holds.c.id, holds.c.tenant, holds.c.parts)
    .where(holds.c.lease_until <= bindparam("now"))
    .order_by(holds.c.lease_until)
    .limit(AT_ONCE)
)


def make(engine: Engine, names: Sequence[Name]) -> None:
    """Put in the counts that are missing; `names` are sorted, so that two who do this wait for each other one way."""
    nothing = {"slices": "[]", "until": instant_of(0)}
    with writing(engine) as connection:
        put = INSERTS[connection.dialect.name](counts).on_conflict_do_nothing()
        connection.execute(put, [{"tenant": tenant, "name": name, **nothing} for tenant, name in names])


def lock(connection: Connection, names: Sequence[Name]) -> dict[Name, Count]:
    """Return the counts there are; nobody else changes them until this transaction ends."""
    rows = connection.execute(LOCK, {"names": names}).all()
    return {(row.tenant, row.name): Count(_window(row.name), dict(orjson.loads(row.slices))) for row in rows}


def save(connection: Connection, changed: Mapping[Name, Count]) -> None:
    """Write counts."""
    if changed:
        rows = [
            {
                "of_tenant": tenant,
                "of_name": name,
                "slices": orjson.dumps(sorted(count.slices.items())).decode(),
                "until": instant_of(count.over_at()),
            }
            for (tenant, name), count in sorted(changed.items())
        ]
        connection.execute(SAVE, rows)


def drop(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Delete holds; returns the ids of those that were there."""
    return {row.id for row in connection.execute(DROP, {"ids": ids})} if ids else set()


def keep(connection: Connection, fresh: Iterable[tuple[Kept, datetime]]) -> None:
    """Put in holds, each until its lease ends."""
    rows = [
        {"id": hold.id, "tenant": hold.tenant, "parts": _json(hold.parts), "lease_until": until}
        for hold, until in fresh
    ]
    if rows:
        connection.execute(insert(holds), rows)


def lapsed(engine: Engine, now: datetime) -> list[Kept]:
    """Return holds whose lease has ended, some at once."""
    with reading(engine) as connection:
        rows = connection.execute(LAPSED, {"now": now}).all()
    return [Kept(row.id, row.tenant, tuple(Part(*part) for part in orjson.loads(row.parts))) for row in rows]


def purge(engine: Engine, now: datetime) -> int:
    """Delete counts of which nothing counts any more, some at once; returns how many."""
    old = select(counts.c.tenant, counts.c.name).where(counts.c.until <= now).order_by(counts.c.until).limit(AT_ONCE)
    chosen = tuple_(counts.c.tenant, counts.c.name).in_(old)
    with writing(engine) as connection:
        return connection.execute(delete(counts).where(chosen, counts.c.until <= now)).rowcount


def _json(parts: Iterable[Part]) -> str:
    return orjson.dumps([tuple(part) for part in parts]).decode()


def _window(name: str) -> int:
    return int(name.rpartition("/")[2])
