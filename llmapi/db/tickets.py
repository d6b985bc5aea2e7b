"""Tickets that open a WebSocket once, where a browser cannot send a header: kept as hashes, shared by all processes."""

import hashlib
import secrets
from datetime import timedelta

from sqlalchemy import Engine, delete, insert

from llmapi.core.clock import Wall, utc_now
from llmapi.db.engine import writing
from llmapi.db.tables.streams import tickets

GOOD_FOR = 30  # seconds


class Tickets:
    """Issues tickets and takes each back once."""

    def __init__(self, engine: Engine, *, now: Wall = utc_now) -> None:
        self._engine, self._now = engine, now

    def issue(self, tenant: str, name: str) -> str:
        """Return a ticket for somebody, good for half a minute."""
        ticket, now = secrets.token_urlsafe(32), self._now()
        row = {"digest": digest(ticket), "tenant": tenant, "name": name, "expires": now + timedelta(seconds=GOOD_FOR)}
        with writing(self._engine) as connection:
            connection.execute(delete(tickets).where(tickets.c.expires <= now))
            connection.execute(insert(tickets), row)
        return ticket

    def redeem(self, ticket: str) -> tuple[str, str] | None:
        """Return whom a ticket stands for, tenant and name, the first time it is shown; else None."""
        taken = delete(tickets).where(tickets.c.digest == digest(ticket))
        with writing(self._engine) as connection:
            row = connection.execute(taken.returning(tickets.c.tenant, tickets.c.name, tickets.c.expires)).one_or_none()
        return (row.tenant, row.name) if row is not None and row.expires > self._now() else None


def digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode("utf-8", "surrogateescape")).hexdigest()
