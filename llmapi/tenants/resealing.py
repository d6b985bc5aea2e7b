"""All secrets of a table: sealing anew what an older key of the operator's has sealed, so that it can go, in steps and
beside running services; and the look whether there are any that nothing could read."""

from typing import Any

import structlog
from sqlalchemy import Column, Engine, Row, Table, Update, select, tuple_, update

from llmapi.core.errors import BadSetting
from llmapi.db.engine import reading, writing
from llmapi.tenants.sealing import Seal, Unreadable

STEP = 100  # rows sealed anew in one transaction

log = structlog.get_logger(__name__)


def seal_anew(engine: Engine, seal: Seal, *place: Column[str]) -> int:
    """Seal the column `secret` of every row with the newest key; what cannot be read is left. Returns how many.

    place: the columns whose values a secret is bound to, which together name its row
    """
    done, after = 0, ("",) * len(place)
    while rows := _rows(engine, place, after):
        with writing(engine) as connection:
            for row in rows:
                change = _anew(seal, place, row)
                done += 0 if change is None else connection.execute(change).rowcount
        after = tuple(rows[-1][:-1])
    return done


def need_key(engine: Engine, seal: Seal, table: Table, what: str) -> None:
    """Raise BadSetting if the table has secrets, which `what` names, and nothing is set that could read them."""
    if seal.ready:
        return
    with reading(engine) as connection:
        if connection.execute(select(table.c.secret).limit(1)).first() is not None:
            raise BadSetting(f"secret_key: tenants have {what}, so LLMAPI_SECRET_KEY must be set")


def _rows(engine: Engine, place: tuple[Column[str], ...], after: tuple[str, ...]) -> list[Row[Any]]:
    page = select(*place, place[0].table.c.secret).where(tuple_(*place) > after).order_by(*place).limit(STEP)
    with reading(engine) as connection:
        return list(connection.execute(page))


def _anew(seal: Seal, place: tuple[Column[str], ...], row: Row[Any]) -> Update | None:
    """Return the statement that seals a row anew, unless it was changed meanwhile; None where it cannot be read."""
    names: tuple[str, ...] = tuple(row[:-1])
    secret = row[-1]
    try:
        found = seal.open(secret, *names)
    except Unreadable:
        log.error("a secret cannot be read with the keys there are", kept=place[0].table.name, place=names)
        return None
    table = place[0].table
    unchanged = tuple_(*place).in_([names]) & (table.c.secret == secret)
    return update(table).where(unchanged).values(secret=seal.close(found, *names))
