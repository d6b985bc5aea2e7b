"""The ledger's sums, written in the transaction that writes its rows: they agree at every moment.

A row adds to three sums (db/tables/usage.py); rows of one transaction are added up before the database is asked.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from llmapi.core.events import KEPT
from llmapi.db.tables.usage import days, hours, users

Row = Mapping[str, Any]
Key = tuple[Any, ...]

FINE = frozenset({"ok", "abandoned"})  # all other statuses are failures
NAMES = (
    "requests", "failures", "kept", "unpriced", "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens",
    "cost", "saved", "duration",
)  # fmt: skip


def _upsert(table: Table, insert: Callable[[Table], Any]) -> Any:
    put = insert(table)
    added = {name: table.c[name] + put.excluded[name] for name in NAMES}
    return put.on_conflict_do_update(index_elements=list(table.primary_key), set_=added)


TABLES = (hours, days, users)  # always in this order, each by its key: transactions that wait for each other end
UPSERTS: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "sqlite": tuple(_upsert(table, sqlite.insert) for table in TABLES),
        "postgresql": tuple(_upsert(table, postgresql.insert) for table in TABLES),
    }
)
COLUMNS = tuple((*(column.name for column in table.primary_key), *NAMES) for table in TABLES)


def add(connection: Connection, rows: Sequence[Row]) -> None:
    """Add ledger rows, given as the columns they were inserted with, to the sums; in the caller's transaction."""
    for found, upsert, columns in zip(merged(rows), UPSERTS[connection.dialect.name], COLUMNS, strict=True):
        if found:
            wanted = [dict(zip(columns, (*key, *found[key]), strict=True)) for key in sorted(found)]
            connection.execute(upsert, wanted)


def merged(rows: Iterable[Row]) -> tuple[dict[Key, list[Any]], ...]:
    """Return what rows add to each table: by the values of its primary key the sums, in the order of NAMES."""
    by_hour: dict[Key, list[Any]] = {}
    by_day: dict[Key, list[Any]] = {}
    by_user: dict[Key, list[Any]] = {}
    for row in rows:
        amounts = measures(row)
        hour = row["at"].replace(minute=0, second=0, microsecond=0)
        day, who, key = hour.replace(hour=0), (row["tenant"], hour, row["project"]), row["key"]
        what = (row["task"], row["provider"], row["model"], row["cache"], row["experiment"], row["batch"])
        _add(by_hour, (*who, *what), amounts)
        _add(by_day, (who[0], day, who[2], key, *what), amounts)
        _add(by_user, (who[0], day, who[2], key, row["user"]), amounts)
    return by_hour, by_day, by_user


def measures(row: Row) -> list[Any]:
    """Return what one ledger row counts for, in the order of NAMES."""
    cost = row["cost"]
    return [
        1,
        int(row["status"] not in FINE),
        int(row["cache"] in KEPT),
        int(cost is None),
        row["input_tokens"],
        row["output_tokens"],
        row["cached_tokens"],
        row["reasoning_tokens"],
        cost or 0,
        row["saved"],
        row["duration"],
    ]


def _add(sums: dict[Key, list[Any]], key: Key, amounts: list[Any]) -> None:
    known = sums.get(key)
    sums[key] = amounts if known is None else [a + b for a, b in zip(known, amounts, strict=True)]
