"""The ledger's sums, written in the transaction that writes its rows: they agree at every moment.

A row adds to three sums (db/tables/usage.py); rows of one transaction are added up before the database is asked.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from sqlalchemy import ClauseElement, Connection, Table, bindparam

from llmapi.core.events import KEPT
from llmapi.costs.postings import micros
from llmapi.costs.prepared import Prepared
from llmapi.db.tables.usage import days, hours, users

Row = Mapping[str, Any]
Key = tuple[Any, ...]

FINE = frozenset({"ok", "abandoned"})  # all other statuses are failures
HOUR, DAY = 3_600_000_000, 86_400_000_000  # microseconds, as Instant keeps them
TABLES = (hours, days, users)  # always in this order, each by its key: transactions that wait for each other end


def _added(table: Table, put_into: Callable[[Table], Any]) -> ClauseElement:
    """Return the statement that adds to a row, which it opens if need be."""
    names = [column.name for column in table.columns]
    put = put_into(table).values({name: bindparam(name) for name in names})
    sums = [column.name for column in table.columns if not column.primary_key]
    added = {name: table.c[name] + put.excluded[name] for name in sums}
    return put.on_conflict_do_update(index_elements=list(table.primary_key), set_=added)  # type: ignore[no-any-return]


ADDED: Final = tuple(Prepared(partial(_added, table)) for table in TABLES)


def add(connection: Connection, rows: Iterable[Row]) -> None:
    """Add ledger rows, given as the columns they were inserted with, to the sums; in the caller's transaction."""
    for found, added in zip(merged(rows), ADDED, strict=True):
        added.each(connection, ((*key, *found[key]) for key in sorted(found)))


def merged(rows: Iterable[Row]) -> tuple[dict[Key, list[Any]], ...]:
    """Return what rows add to each table: by the values of its primary key the sums, in the order of its columns."""
    by_hour: dict[Key, list[Any]] = {}
    by_day: dict[Key, list[Any]] = {}
    by_user: dict[Key, list[Any]] = {}
    for row in rows:
        amounts, tenant, project = measures(row), row["tenant"], row["project"]
        at = micros(row["at"])
        hour, day = at - at % HOUR, at - at % DAY
        what = (row["task"], row["provider"], row["model"], row["cache"], row["experiment"], row["batch"])
        _add(by_hour, (tenant, hour, project, *what), amounts)
        _add(by_day, (tenant, day, project, row["key"], *what), amounts)
        _add(by_user, (tenant, day, project, row["user"]), amounts)
    return by_hour, by_day, by_user


def measures(row: Row) -> list[Any]:
    """Return what one ledger row counts for, in the order of the tables' columns."""
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
