"""Deletes what is older than it is to be kept: rows of the ledger, sums of hours, sums of users; a little at a time.

Days are kept for good. Since when each is whole is noted before the first row goes, so that no question is answered
from what is half gone; postings are carried forward, so that the books still prove right.
"""

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from sqlalchemy import Connection, Engine, Table, bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from llmapi.core.clock import Wall, utc_now
from llmapi.core.periodic import Periodic
from llmapi.costs.postings import carry_forward
from llmapi.db.engine import reading, writing
from llmapi.db.tables.ledger import ledger
from llmapi.db.tables.usage import hours, kept, users

EVERY = 3600.0  # seconds between two rounds of all processes together
LOOK = 300.0  # seconds between two looks of one process at whether it is time
STEP = 2000  # rows a transaction deletes, so that it never holds up others for long
TURN = "purge"  # in usage_kept: until when nobody else begins a round
INSERTS: Mapping[str, Callable[[Table], sqlite.Insert | postgresql.Insert]] = MappingProxyType(
    {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
)


class Retention:
    """A thread that deletes what is due; of many processes one at a time. Start it after the fork."""

    def __init__(
        self, engine: Engine, *, ledger_kept: float, hours_kept: float, step: int = STEP, now: Wall = utc_now
    ) -> None:
        self._engine, self._step, self._now = engine, step, now
        self._spans = {"ledger": ledger_kept, "users": ledger_kept, "hours": hours_kept}  # seconds
        said = "what is too old in the ledger was not deleted"
        self._periodic = Periodic("retention", self.look, LOOK, trouble=said)

    def start(self) -> None:
        """Begin."""
        self._periodic.start()

    def stop(self) -> None:
        """End, after the step that may be under way."""
        self._periodic.stop()

    def look(self) -> bool:
        """Delete what is due if it is time and nobody else is at it; says so. Raises StorageFull, Overloaded."""
        if mine := self._take_turn():
            self.purge()
        return mine

    def purge(self, spans: Mapping[str, float] | None = None) -> dict[str, int]:
        """Delete all that is due, and return how many rows of what; `spans` are other seconds to keep than usual."""
        found = {}
        for name, span in {**self._spans, **(spans or {})}.items():
            midnight = (self._now() - timedelta(seconds=span)).replace(hour=0, minute=0, second=0, microsecond=0)
            found[name] = self._delete(name, self._noted(name, midnight))
        return found

    def _delete(self, name: str, since: datetime) -> int:
        deleted, over = 0, self._periodic.over
        while not over.is_set():
            begun = time.monotonic()
            count = self._ledger_step(since) if name == "ledger" else self._sums_step(SUMS[name], since)
            deleted += count
            if not count:
                break
            over.wait(min(1.0, time.monotonic() - begun))  # others have half of the time
        return deleted

    def _noted(self, name: str, since: datetime) -> datetime:
        """Note since when something is whole, which never goes back; returns since when it is."""
        with writing(self._engine) as connection:
            insert = INSERTS[connection.dialect.name](kept)
            later = insert.excluded.since > kept.c.since
            connection.execute(
                insert.on_conflict_do_update(
                    index_elements=[kept.c.name], set_={"since": insert.excluded.since}, where=later
                ),
                {"name": name, "since": since},
            )
            found: datetime = connection.execute(select(kept.c.since).where(kept.c.name == name)).scalar_one()
        return found

    def _ledger_step(self, since: datetime) -> int:
        """Delete the oldest rows, all of an instant together, and carry their postings forward."""
        with reading(self._engine) as connection:
            old = select(ledger.c.at).where(ledger.c.at < since).order_by(ledger.c.at).limit(self._step)
            instants = connection.execute(old).scalars().all()
        if not instants:
            return 0
        with writing(self._engine) as connection:
            count = connection.execute(delete(ledger).where(ledger.c.at <= instants[-1])).rowcount
            carry_forward(connection, instants[-1])
        return max(1, count)

    def _sums_step(self, table: Table, since: datetime) -> int:
        """Delete some sums by their keys, which are looked for beside whoever writes."""
        keys = list(table.primary_key)
        with reading(self._engine) as connection:
            old = connection.execute(select(*keys).where(table.c.start < since).limit(self._step)).all()
        if old:
            with writing(self._engine) as connection:
                delete_by_key(connection, table, [tuple(row) for row in old])
        return len(old)

    def _take_turn(self) -> bool:
        now = self._now()
        until = now + timedelta(seconds=EVERY)
        with writing(self._engine) as connection:
            insert = INSERTS[connection.dialect.name](kept).values(name=TURN, since=until)
            taken = insert.on_conflict_do_update(
                index_elements=[kept.c.name], set_={"since": until}, where=kept.c.since <= now
            )
            return connection.execute(taken.returning(kept.c.name)).first() is not None


SUMS: Mapping[str, Table] = MappingProxyType({"users": users, "hours": hours})


def delete_by_key(connection: Connection, table: Table, keys: list[tuple[object, ...]]) -> None:
    """Delete rows by their primary keys."""
    names = [column.name for column in table.primary_key]
    same = [table.c[name] == bindparam(f"old_{name}") for name in names]
    rows = [{f"old_{name}": value for name, value in zip(names, key, strict=True)} for key in keys]
    connection.execute(delete(table).where(*same), rows)
