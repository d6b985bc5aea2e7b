"""Rows of the ledger and their postings, written in one go."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Connection, Dialect, Table, bindparam, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from llmapi.costs.ledger_rows import Row
from llmapi.costs.postings import micros, posted
from llmapi.costs.reservations import Booked
from llmapi.db.tables.ledger import ledger, postings

COLUMNS: Final = tuple(column.name for column in ledger.columns if column.name != "id")
POSTED: Final = ("at", "entry", "account", "amount")
SQLITE: Dialect = sqlite.dialect(paramstyle="qmark")
POSTGRESQL: Dialect = postgresql.dialect(paramstyle="format")  # type: ignore[no-untyped-call]
DIALECTS: Final = MappingProxyType({"sqlite": SQLITE, "postgresql": POSTGRESQL})


def _inserts(table: Table, columns: Sequence[str]) -> Mapping[str, str]:
    """Return the statement of each database that takes a row's values by their place: it is not looked at again."""
    put = insert(table).values({name: bindparam(name) for name in columns}).inline()  # no RETURNING
    return MappingProxyType({name: str(put.compile(dialect=dialect)) for name, dialect in DIALECTS.items()})


LEDGER: Final = _inserts(ledger, COLUMNS)
POSTINGS: Final = _inserts(postings, POSTED)


def book(connection: Connection, booked: Sequence[Booked]) -> list[Row]:
    """Write rows and postings in the caller's transaction; returns the rows."""
    rows = [row for row, _ in booked]
    _write(connection, LEDGER, COLUMNS, rows)
    _write(connection, POSTINGS, POSTED, [each for row, charged in booked for each in posted(row, charged)])
    return rows


def known(connection: Connection, entries: Sequence[str]) -> set[str]:
    """Return which of these entries are in the ledger."""
    return set(connection.execute(select(ledger.c.entry).where(ledger.c.entry.in_(entries))).scalars())


def _write(connection: Connection, texts: Mapping[str, str], columns: Sequence[str], rows: Sequence[Row]) -> None:
    if rows:
        values: list[tuple[Any, ...]] = [(micros(row["at"]), *(row[name] for name in columns[1:])) for row in rows]
        connection.exec_driver_sql(texts[connection.dialect.name], values)
