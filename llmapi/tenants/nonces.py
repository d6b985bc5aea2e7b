"""Each nonce of a signed request is taken once, whichever process it comes to."""

import itertools
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Engine, delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from llmapi.core.clock import Wall, utc_now
from llmapi.db.engine import writing
from llmapi.db.tables.signing import nonces

KEPT = timedelta(seconds=600)  # a signature of 300 s ahead is good until then
APART = timedelta(seconds=60)  # how much the clocks of machines that share a database may differ
EVERY = 64  # nonces after which old ones are cleared away
STEP = 256  # of them at most, so that nobody waits long
INSERTS: Mapping[str, Any] = MappingProxyType({"sqlite": sqlite.insert, "postgresql": postgresql.insert})


class Nonces:
    """The nonces of the last minutes, in the database that all processes share."""

    def __init__(self, engine: Engine, *, now: Wall = utc_now) -> None:
        self._engine, self._now = engine, now
        self._spent = itertools.count(1)

    def spend(self, key_id: str, nonce: str) -> bool:
        """Say whether this is its first use, and the only one ever to be told so; raises Overloaded, StorageFull."""
        now = self._now()
        row = {"key_id": key_id, "nonce": nonce, "expires": now + KEPT}
        with writing(self._engine) as connection:
            put = INSERTS[connection.dialect.name](nonces).values(row).on_conflict_do_nothing()
            first = connection.execute(put.returning(nonces.c.nonce)).first() is not None
            if next(self._spent) % EVERY == 0:
                self._clear(connection)
        return first

    def purge(self) -> int:
        """Clear a step of old ones away; returns how many there were."""
        with writing(self._engine) as connection:
            return self._clear(connection)

    def _clear(self, connection: Connection) -> int:
        name = (nonces.c.key_id, nonces.c.nonce)
        old = select(*name).where(nonces.c.expires < self._now() - APART).order_by(nonces.c.expires).limit(STEP)
        gone = delete(nonces).where(tuple_(*name).in_(old.with_for_update(skip_locked=True)))
        return connection.execute(gone).rowcount
