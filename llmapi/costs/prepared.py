"""Statements put together once for each database, their values given by place.

SQLAlchemy looks at a statement and its parameters anew each time, which takes longer than the database takes to do it.
What comes back is as it lies there: an instant is microseconds since 1970.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import ClauseElement, Connection, Dialect, Table, bindparam, insert
from sqlalchemy.dialects import postgresql, sqlite

SQLITE: Dialect = sqlite.dialect(paramstyle="qmark")
POSTGRESQL: Dialect = postgresql.dialect(paramstyle="format")  # type: ignore[no-untyped-call]
DIALECTS: Final[Mapping[str, Dialect]] = MappingProxyType({"sqlite": SQLITE, "postgresql": POSTGRESQL})
INSERTS: Final[Mapping[str, Callable[[Table], Any]]] = MappingProxyType(
    {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
)


class Prepared:
    """One statement, for every database; `make` is given the database's own `insert`."""

    def __init__(self, make: Callable[[Callable[[Table], Any]], ClauseElement]) -> None:
        made = {name: make(INSERTS[name]) for name in DIALECTS}
        self._texts = {name: str(made[name].compile(dialect=dialect)) for name, dialect in DIALECTS.items()}

    def __call__(self, connection: Connection, *values: Any) -> Any:
        """Execute it with values in the order in which the SQL names them; returns the result."""
        return connection.exec_driver_sql(self._texts[connection.dialect.name], values)

    def each(self, connection: Connection, rows: Iterable[Sequence[Any]]) -> None:
        """Execute it for each row of values, if there are any."""
        if many := [tuple(row) for row in rows]:
            connection.exec_driver_sql(self._texts[connection.dialect.name], many)


def prepared_insert(table: Table, columns: Sequence[str]) -> Prepared:
    """Return the statement that puts in a row of these columns, in this order."""
    return Prepared(lambda _: insert(table).values({name: bindparam(name) for name in columns}).inline())
