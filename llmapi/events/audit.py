"""The audit chain: who changed what, and who looked at what is not everybody's, in the order it happened.

One writer at a time over all processes: each append takes the row of the head first. The head is exported after every
append: to a file beside the database, and as a log line, so that it can be kept where who edits the database cannot.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import structlog
from sqlalchemy import Connection, Engine, Select, insert, select, update

from llmapi.core.clock import Wall, rfc3339, utc_now
from llmapi.core.errors import BadSetting, Overloaded, StorageFull
from llmapi.db.engine import reading, writing
from llmapi.db.files import private_file
from llmapi.db.tables.audit import entries, head
from llmapi.events.audit_chain import START, Entry, Head, faults, hash_of

FILE = "audit_heads.jsonl"
PAGE = 1000  # entries read at once
LONGEST = 4000  # characters of details
log = structlog.get_logger("llmapi.audit")


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Entries, newest first, and where the next page begins (None: this is the last)."""

    entries: tuple[Entry, ...]
    after: int | None


class Audit:
    """Appends to the chain, reads it, and looks whether it is whole.

    key: what the hashes are keyed with; never kept in the database
    """

    def __init__(self, engine: Engine, key: bytes, folder: Path, *, now: Wall = utc_now) -> None:
        self._engine, self._key, self._file, self._now = engine, key, folder / FILE, now

    def append(
        self,
        tenant: str,
        actor: str,
        action: str,
        target: str = "",
        *,
        details: Mapping[str, Any] | None = None,
        request_id: str = "",
    ) -> Entry:
        """Write down what was done; raises StorageFull, Overloaded."""
        told = orjson.dumps(dict(details or {}), option=orjson.OPT_SORT_KEYS).decode()
        if len(told) > LONGEST:
            told = orjson.dumps({"too_long": len(told)}).decode()
        draft = Entry(0, self._now(), tenant, actor[:128], action, target[:200], request_id, told)
        with writing(self._engine) as connection:
            last = self._take_turn(connection)
            entry = replace(draft, number=last.number + 1)
            entry = replace(entry, hash=hash_of(self._key, entry, last.hash))
            connection.execute(insert(entries).values({name: getattr(entry, name) for name in Entry.__slots__}))
            connection.execute(update(head).values(number=entry.number, hash=entry.hash))
        self._export(entry)
        return entry

    def page(
        self,
        tenant: str | None,
        *,
        limit: int = 20,
        after: int | None = None,
        actor: str | None = None,
        action: str | None = None,
    ) -> AuditPage:
        """Return a tenant's entries, or with None everybody's; `action` may end in a dot and means all that follows."""
        wanted: Select[Any] = select(entries).order_by(entries.c.number.desc()).limit(limit + 1)
        if tenant is not None:
            wanted = wanted.where(entries.c.tenant == tenant)
        if after is not None:
            wanted = wanted.where(entries.c.number < after)
        if actor is not None:
            wanted = wanted.where(entries.c.actor == actor)
        if action is not None:
            same = entries.c.action.startswith(action, autoescape=True) if action.endswith(".") else None
            wanted = wanted.where(entries.c.action == action if same is None else same)
        with reading(self._engine) as connection:
            found = [Entry.of(row) for row in connection.execute(wanted).mappings()]
        more = len(found) > limit
        return AuditPage(tuple(found[:limit]), found[limit - 1].number if more else None)

    def last(self, action: str) -> Entry | None:
        """Return the newest entry of an action."""
        found = self.page(None, limit=1, action=action).entries
        return found[0] if found else None

    def head(self) -> Head:
        """Return where the chain ends."""
        with reading(self._engine) as connection:
            row = connection.execute(select(head.c.number, head.c.hash)).one_or_none()
        return Head(*row) if row is not None else START

    def exported(self) -> list[Head]:
        """Return the heads in the file beside the database, oldest first; a line that is none counts as nothing."""
        return heads_in(self._file)

    def verify(self, heads: list[Head] | None = None) -> list[str]:
        """Return what is wrong with the chain; nothing when all is well.

        heads: kept elsewhere, which it must contain beside the newest one
        """
        newest = self.head()
        return faults(self._key, self.all(), [*(heads or ()), newest]) + self._beyond(newest)

    def _beyond(self, newest: Head) -> list[str]:
        """Return entries that follow the head: somebody wrote past it."""
        with reading(self._engine) as connection:
            found = connection.execute(select(entries.c.number).where(entries.c.number > newest.number)).scalars()
            return [f"entry {number} follows the head" for number in found.fetchmany(5)]

    def all(self) -> Iterator[Entry]:
        """Yield every entry, oldest first."""
        number = -(2**63)
        while True:
            page = select(entries).where(entries.c.number > number).order_by(entries.c.number).limit(PAGE)
            with reading(self._engine) as connection:
                rows = connection.execute(page).mappings().all()
            yield from (Entry.of(row) for row in rows)
            if len(rows) < PAGE:
                return
            number = rows[-1]["number"]

    def _take_turn(self, connection: Connection) -> Head:
        """Return the head, alone with it until the transaction ends: SQLite's writers are, PostgreSQL locks the row."""
        row = connection.execute(select(head.c.number, head.c.hash).with_for_update()).one_or_none()
        if row is None:
            raise Overloaded("The audit chain has lost its head; look at `flask audit verify`.", retry_after=60.0)
        return Head(*row)

    def _export(self, entry: Entry) -> None:
        told = {"number": entry.number, "hash": entry.hash, "at": rfc3339(entry.at)}
        log.info("audit", action=entry.action, target=entry.target, actor=entry.actor, tenant=entry.tenant, **told)
        line = orjson.dumps(told) + b"\n"
        try:
            with private_file(self._file).open("ab") as file:
                file.write(line)
        except (OSError, BadSetting) as error:
            log.error("a head of the audit chain was not exported", number=entry.number, reason=str(error))
            raise StorageFull("The head of the audit chain cannot be written.") from error


def heads_in(file: Path) -> list[Head]:
    """Return the heads of a file, oldest first."""
    found = []
    for line in file.read_bytes().splitlines() if file.exists() else ():
        try:
            told = orjson.loads(line)
            found.append(Head(int(told["number"]), str(told["hash"])))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            continue
    return found
