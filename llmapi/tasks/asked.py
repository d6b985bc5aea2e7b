"""What was asked how often, so that the most asked can be asked ahead: kept only where the operator says for how long.

Counted in memory and written by one thread, never on a request's way; what a killed process did not write is lost.
"""

import hashlib
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import orjson
from sqlalchemy import Engine, Select, delete, func, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from llmapi.core.clock import Wall, utc_now
from llmapi.core.errors import LlmApiError
from llmapi.core.periodic import Periodic
from llmapi.db.deleting import in_steps
from llmapi.db.engine import reading, writing
from llmapi.db.tables.cache import requests
from llmapi.tasks.answers import Json
from llmapi.tasks.warm_questions import ADDRESSES

EVERY: Final = 1.0  # seconds between two writings
CARE: Final = 60.0  # seconds between two looks for what is too old or too much
PENDING: Final = 2000  # different requests that may wait to be written; beyond, new ones are not counted
LONGEST: Final = 32_768  # bytes of a request that is kept
MOST: Final = 10_000  # requests kept of a tenant and task: the most asked
STEP: Final = 1000  # rows deleted in one transaction
PLACE: Final = (requests.c.tenant, requests.c.task, requests.c.digest)
ASIDE: Final = frozenset({"cache", "on_disconnect"})  # how it was asked for, not what was asked

log = logging.getLogger(__name__)
Name = tuple[str, str, str]  # tenant, task, digest


@dataclass(slots=True)
class Count:
    """A request that waits to be written."""

    request: bytes
    times: int
    last: datetime


class Asked:
    """Counts requests and gives the most asked back.

    keep_for: seconds after it was asked last; 0: nothing is kept
    """

    def __init__(self, engine: Engine, keep_for: float, *, now: Wall = utc_now) -> None:
        self.keep_for = keep_for
        self._engine, self._now = engine, now
        self._lock = threading.Lock()
        self._pending: dict[Name, Count] = {}
        self._writes = Periodic("asked", self.write, EVERY, trouble="the counts of requests were not written")
        self._purges = Periodic("asked-purge", self.purge, CARE, trouble="old requests were not deleted")

    def note(self, tenant: str, task: str, wanted: Mapping[str, Any]) -> None:
        """Count a request that was answered, unless its task is not asked ahead or it wants no cache."""
        if not self.keep_for or task not in ADDRESSES or wanted.get("cache", {}).get("mode") == "bypass":
            return
        try:
            request = orjson.dumps(
                {name: value for name, value in wanted.items() if name not in ASIDE}, option=orjson.OPT_SORT_KEYS
            )
        except orjson.JSONEncodeError:
            return  # half a character, or an endless number: nobody needs that often
        name = (tenant, task, hashlib.sha256(request).hexdigest())
        with self._lock:
            known = self._pending.get(name)
            if known is not None:
                known.times, known.last = known.times + 1, self._now()
            elif len(self._pending) < PENDING and len(request) <= LONGEST:
                self._pending[name] = Count(request, 1, self._now())

    def top(self, tenant: str, task: str, count: int) -> list[Json]:
        """Return a tenant's most asked requests of a task, the most asked first."""
        self.write()
        mine = select(requests.c.request).where(
            requests.c.tenant == tenant, requests.c.task == task, requests.c.last > self._oldest()
        )
        with reading(self._engine) as connection:
            found = connection.execute(mine.order_by(requests.c.times.desc(), requests.c.digest).limit(count))
            return [orjson.loads(request) for request in found.scalars()]

    def start(self) -> None:
        """Begin to write; where nothing is to be kept, delete what was kept before."""
        if not self.keep_for:
            self._purges.once()
            return
        self._writes.start()
        self._purges.start()

    def stop(self) -> None:
        """Write a last time and end."""
        self._purges.stop()
        self._writes.stop()
        self.write()

    def write(self) -> None:
        """Write what was counted since the last time; what cannot be written is dropped."""
        with self._lock:
            pending, self._pending = self._pending, {}
        rows = [  # sorted: no deadlock among workers
            {"tenant": name[0], "task": name[1], "digest": name[2], "request": each.request.decode(),
             "times": each.times, "last": each.last}
            for name, each in sorted(pending.items())
        ]  # fmt: skip
        if not rows:
            return
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        new = insert(requests)
        more = new.on_conflict_do_update(
            index_elements=["tenant", "task", "digest"],
            set_={"times": requests.c.times + new.excluded.times, "last": new.excluded.last},
        )
        try:
            with writing(self._engine) as connection:
                connection.execute(more, rows)
        except LlmApiError as error:
            log.warning("the counts of %d requests were not written: %s", len(rows), error.message)

    def purge(self) -> int:
        """Delete what was not asked for long, and what is too much of a tenant; returns how many rows went.

        raises: StorageFull, Overloaded
        """
        old = requests.c.last <= self._oldest()
        gone = in_steps(lambda: self._delete(select(*PLACE).where(old)), STEP)
        group = (requests.c.tenant, requests.c.task)
        with reading(self._engine) as connection:
            crowded = connection.execute(select(*group).group_by(*group).having(func.count() > MOST)).all()
        for each in crowded:
            rare = select(*PLACE).where(tuple_(*group) == tuple(each))
            rare = rare.order_by(requests.c.times.desc(), requests.c.last.desc()).offset(MOST)
            gone += in_steps(partial(self._delete, rare), STEP)
        return gone

    def _delete(self, places: Select[Any]) -> int:
        with reading(self._engine) as connection:
            if connection.execute(places.limit(1)).first() is None:
                return 0  # without waiting for the writers, at every start
        with writing(self._engine) as connection:
            return connection.execute(delete(requests).where(tuple_(*PLACE).in_(places.limit(STEP)))).rowcount

    def _oldest(self) -> datetime:
        return self._now() - timedelta(seconds=self.keep_for)
