"""Rows of the ledger and their postings, written in one go."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, select

from llmapi.costs.ledger_rows import Row
from llmapi.costs.postings import micros, posted
from llmapi.costs.prepared import Prepared, prepared_insert
from llmapi.costs.reservations import Booked
from llmapi.db.tables.ledger import ledger, postings

COLUMNS: Final = tuple(column.name for column in ledger.columns if column.name not in ("id", "at"))
LEDGER: Final = prepared_insert(ledger, ("at", *COLUMNS))
POSTED: Final = ("entry", "account", "amount")
POSTINGS: Final = prepared_insert(postings, ("at", *POSTED))


def book(connection: Connection, booked: Sequence[Booked]) -> list[Row]:
    """Write rows and postings in the caller's transaction; returns the rows."""
    rows = [row for row, _ in booked]
    _write(connection, LEDGER, COLUMNS, rows)
    _write(connection, POSTINGS, POSTED, [each for row, charged in booked for each in posted(row, charged)])
    return rows


def known(connection: Connection, entries: Sequence[str]) -> set[str]:
    """Return which of these entries are in the ledger."""
    return set(connection.execute(select(ledger.c.entry).where(ledger.c.entry.in_(entries))).scalars())


def _write(connection: Connection, put: Prepared, columns: Sequence[str], rows: Sequence[Row]) -> None:
    put.each(connection, [(micros(row["at"]), *(row[name] for name in columns)) for row in rows])
