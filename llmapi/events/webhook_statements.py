"""The outbox's SQL. One text for every database: SQLite ignores SKIP LOCKED, for its writers are alone."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Delete, Select, Update
from sqlalchemy import delete, func, or_, select, update

from llmapi.db.tables.webhooks import deliveries, messages

NO_LEASE: dict[str, Any] = {"lease_owner": None, "lease_until": None}
SUMMARY = tuple(column for column in messages.c if column.name != "payload")
ENDED_AT_ONCE = 500  # rows one clean-up deletes, so that it never holds up others for long
KEPT_ATTEMPTS = 30  # of each message: redelivering it for ever fills no disk


def due(now: datetime) -> Select[Any]:
    """Find out whether anything is to be sent."""
    return select(messages.c.id).where(_due(messages, now)).limit(1)


def claim(owner: str, now: datetime, until: datetime, *, each: int, each_tenant: int) -> Update:
    """Give the message that waited longest to `owner`; not one of an endpoint or a tenant that has enough under way."""
    waiting = messages.alias()
    turn = (
        select(waiting.c.id)
        .where(
            _due(waiting, now),
            waiting.c.endpoint.not_in(_busy("endpoint", now, each)),
            waiting.c.tenant.not_in(_busy("tenant", now, each_tenant)),
        )
        .order_by(waiting.c.next_at, waiting.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    given = {
        "lease_owner": owner,
        "lease_until": until,
        "attempts": messages.c.attempts + 1,
        "claims": messages.c.claims + 1,
    }
    return update(messages).where(messages.c.id == turn.scalar_subquery()).values(given)


def held(id: str, owner: str, number: int) -> Update:
    """Change a claimed message, if that claim still holds."""
    return update(messages).where(
        messages.c.id == id,
        messages.c.status == "pending",
        messages.c.lease_owner == owner,
        messages.c.claims == number,
    )


def listing(endpoint: str, tenant: str, status: str | None, after: str | None, most: int) -> Select[Any]:
    """List an endpoint's messages, newest first; ids sort by time."""
    mine = (messages.c.endpoint == endpoint, messages.c.tenant == tenant)
    found = select(*SUMMARY).where(*mine).order_by(messages.c.id.desc()).limit(most)
    if status is not None:
        found = found.where(messages.c.status == status)
    return found if after is None else found.where(messages.c.id < after)


def waiting(endpoint: str, most: int) -> Select[int]:
    """Count what waits for an endpoint, up to `most`."""
    mine = select(messages.c.id).where(messages.c.endpoint == endpoint, messages.c.status == "pending").limit(most)
    return select(func.count()).select_from(mine.subquery())


def again(id: str, endpoint: str, tenant: str, now: datetime) -> Update:
    """Send a message once more, from the start of the schedule; one that is being sent stays with its sender."""
    mine = (messages.c.id == id, messages.c.endpoint == endpoint, messages.c.tenant == tenant)
    fresh = {"status": "pending", "step": 0, "next_at": now, "done": None}
    return update(messages).where(*mine).values(fresh).returning(*SUMMARY)


def forget_attempts(id: str, latest: int) -> Delete:
    """Delete all but the latest attempts of a message."""
    return delete(deliveries).where(deliveries.c.message == id, deliveries.c.number <= latest - KEPT_ATTEMPTS)


def ended_before(before: datetime) -> Select[Any]:
    """Find the messages that ended longest ago, some at a time."""
    return select(messages.c.id).where(messages.c.done < before).order_by(messages.c.done).limit(ENDED_AT_ONCE)


def _due(table: Any, now: datetime) -> ColumnElement[bool]:
    free = or_(table.c.lease_until.is_(None), table.c.lease_until <= now)
    found: ColumnElement[bool] = (table.c.status == "pending") & (table.c.next_at <= now) & free
    return found


def _busy(column: str, now: datetime, most: int) -> Select[Any]:
    """Find who has `most` messages under way."""
    under_way = messages.alias()
    whose = under_way.c[column]
    return select(whose).where(under_way.c.lease_until > now).group_by(whose).having(func.count() >= most)
