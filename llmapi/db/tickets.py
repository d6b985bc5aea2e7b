"""Tickets that open a WebSocket once, where a browser cannot send a header: kept as hashes, shared by all processes."""

import hashlib
import secrets
from datetime import timedelta

from sqlalchemy import Engine, delete, insert

from llmapi.core.clock import Wall, utc_now
from llmapi.core.identity import EVERYTHING, Identity, Payer
from llmapi.db.engine import writing
from llmapi.db.tables.streams import tickets

GOOD_FOR = 30  # seconds


class Tickets:
    """Issues tickets and takes each back once."""

    def __init__(self, engine: Engine, *, now: Wall = utc_now) -> None:
        self._engine, self._now = engine, now

    def issue(self, holder: Identity) -> str:
        """Return a ticket for somebody, good for half a minute."""
        ticket, now = secrets.token_urlsafe(32), self._now()
        row = {
            "digest": digest(ticket),
            "tenant": holder.tenant,
            "name": holder.name,
            "key": holder.payer.key or None,
            "user": holder.payer.user or None,
            "expires": now + timedelta(seconds=GOOD_FOR),
        }
        with writing(self._engine) as connection:
            connection.execute(delete(tickets).where(tickets.c.expires <= now))
            connection.execute(insert(tickets), row)
        return ticket

    def redeem(self, ticket: str) -> Identity | None:
        """Return whom a ticket stands for the first time it is shown; else None.

        A holder with a key has no scopes here: what the key may do is asked of the keyring, now.
        """
        taken = delete(tickets).where(tickets.c.digest == digest(ticket))
        with writing(self._engine) as connection:
            row = connection.execute(taken.returning(*tickets.c)).one_or_none()
        if row is None or row.expires <= self._now():
            return None
        payer = Payer(key=row.key or "", user=row.user or "")
        return Identity(row.tenant, row.name, payer, frozenset() if row.key else EVERYTHING)


def digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode("utf-8", "surrogateescape")).hexdigest()
