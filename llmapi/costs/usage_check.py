"""Holds the ledger's sums against its rows."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import BigInteger, Connection, Engine, Table, literal_column, select, type_coerce

from llmapi.costs.postings import micros
from llmapi.costs.usage import NAMES, counts_of, total_of
from llmapi.costs.usage_plan import DAY, LEDGER, SOURCES, Piece, instant, up
from llmapi.db.engine import reading
from llmapi.db.tables.usage import kept

EXACT = [place for place, name in enumerate(NAMES) if name != "duration"]  # sums of floats depend on their order


def differences(engine: Engine) -> list[str]:
    """Return each tenant's days on which a sum is not what the ledger's rows add up to, a sentence each."""
    asking = engine
    if engine.dialect.name == "postgresql":  # all statements see the same moment, as they do on SQLite
        asking = engine.execution_options(isolation_level="REPEATABLE READ")
    with reading(asking) as connection:
        since = {name: at for name, at in connection.execute(select(kept.c.name, kept.c.since))}
        return [
            found
            for source in SOURCES
            if source is not LEDGER
            for found in _compared(connection, source.table, since.get(source.name), since.get(LEDGER.name))
        ]


def _compared(connection: Connection, table: Table, *since: datetime | None) -> Iterator[str]:
    first = up(max((micros(each) for each in since if each is not None), default=0), DAY)
    rows, sums = by_day(connection, LEDGER.table, first), by_day(connection, table, first)
    for tenant, day in sorted(rows.keys() | sums.keys()):
        if rows.get((tenant, day)) != sums.get((tenant, day)):
            yield f"{table.name} of {tenant} on {instant(day).date()} is not the sum of the ledger's rows"


def by_day(connection: Connection, table: Table, first: int) -> dict[tuple[str, int], tuple[int, ...]]:
    """Return what is counted in a table of each tenant and day."""
    at = type_coerce(table.c.at if table is LEDGER.table else table.c.start, BigInteger)
    day = (at - at % literal_column(str(DAY), BigInteger)).label("day")
    counted = counts_of(Piece(LEDGER, 0, 0, None)) if table is LEDGER.table else [table.c[name] for name in NAMES]
    sums = [total_of(column) for column in counted]
    found = connection.execute(select(table.c.tenant, day, *sums).where(at >= first).group_by("tenant", "day"))
    return {(tenant, start): tuple(rest[place] for place in EXACT) for tenant, start, *rest in found}
