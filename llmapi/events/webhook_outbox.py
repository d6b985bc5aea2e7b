"""What is to be told to receivers: rows written with what they tell about, in one transaction, and sent afterwards.

A sender's right to a message is a lease; each of its writes names its claim, so one that lost its lease changes
nothing. A message is sent at least once, always under the same id, by which receivers know it again.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, RowMapping, delete, insert, select, text, update

from llmapi.core.clock import Wall, rfc3339, utc_now
from llmapi.core.errors import NotFound, ValidationFailed
from llmapi.core.ids import new_id
from llmapi.db.deleting import in_steps
from llmapi.db.engine import reading, writing
from llmapi.db.tables.webhooks import deliveries, endpoints, messages
from llmapi.events import webhook_statements as statements
from llmapi.events.webhook_endpoints import GONE, TEST, Endpoint, cancel_waiting

log = logging.getLogger(__name__)

LARGEST = 262_144  # bytes of a payload
WAITING = 10_000  # messages that may wait for one endpoint
CLAIM_LOCK = 7_310_573_205  # PostgreSQL: any number that only we use


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to deliver: what the receiver answered, or one word for why it did not."""

    at: datetime
    status: int | None
    error: str | None
    milliseconds: int


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one endpoint, with its latest attempts, oldest first."""

    id: str
    endpoint: str
    kind: str
    status: str  # pending, delivered, failed or cancelled
    attempts: int
    next_at: datetime
    created: datetime
    done: datetime | None
    history: tuple[Attempt, ...] = ()

    @classmethod
    def of(cls, row: RowMapping, history: tuple[Attempt, ...] = ()) -> "Message":
        """Return the message of a row."""
        return cls(**{name: row[name] for name in cls.__slots__ if name != "history"}, history=history)


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Messages, newest first, and where the next page begins (None: this is the last)."""

    messages: tuple[Message, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class Claim:
    """A sender's right to a message, until its lease ends. `number` tells it from earlier claims of the same one."""

    id: str
    owner: str
    number: int
    attempt: int  # counted from 1 over all redeliveries
    step: int  # failures since it was last (re)delivered
    payload: str
    endpoint: Endpoint


class WebhookOutbox:
    """Durable messages: add and redeliver for callers; claim and the outcomes for senders."""

    def __init__(self, engine: Engine, *, now: Wall = utc_now, waiting: int = WAITING) -> None:
        self._engine = engine
        self._now = now
        self._waiting = waiting
        self._wakers: tuple[Callable[[], None], ...] = ()

    def add(self, connection: Connection, tenant: str, kind: str, data: Mapping[str, Any]) -> None:
        """Write what the tenant's endpoints want to hear, in the caller's transaction; it is sent once that commits.

        An endpoint for which too much waits hears no more until some of it is gone: its owner's work goes on.
        """
        mine = select(*endpoints.c).where(endpoints.c.tenant == tenant, endpoints.c.disabled.is_(None))
        found = [Endpoint.of(row) for row in connection.execute(mine).mappings().all()]
        payload = ""
        for endpoint in found:
            if not endpoint.wants(kind):
                continue
            if connection.execute(statements.waiting(endpoint.id, self._waiting)).scalar_one() >= self._waiting:
                log.warning("%s is lost for %s: too much waits for it", kind, endpoint.id)
                continue
            payload = payload or payload_of(kind, self._now(), data)
            self._insert(connection, endpoint, kind, payload)

    def test(self, endpoint: str, tenant: str) -> Message:
        """Send webhook.test to an endpoint, whatever its filter; raises NotFound, ValidationFailed (disabled)."""
        with writing(self._engine) as connection:
            found = _enabled(connection, endpoint, tenant)
            payload = payload_of(TEST, self._now(), {"webhook": endpoint})
            message = self._insert(connection, found, TEST, payload)
        self.wake()
        return message

    def redeliver(self, id: str, endpoint: str, tenant: str) -> Message:
        """Send a message again, under its id and from the start of the schedule; raises as `test`."""
        with writing(self._engine) as connection:
            _enabled(connection, endpoint, tenant)
            again = statements.again(id, endpoint, tenant, self._now())
            row = connection.execute(again).mappings().one_or_none()
        if row is None:
            raise NotFound("There is no such delivery.")
        self.wake()
        return Message.of(row)

    def list(
        self, endpoint: str, tenant: str, *, status: str | None = None, limit: int = 20, after: str | None = None
    ) -> MessagePage:
        """Return what was and will be sent to an endpoint, newest first, with its latest attempts."""
        found = statements.listing(endpoint, tenant, status, after, limit + 1)
        with reading(self._engine) as connection:
            rows = connection.execute(found).mappings().all()
            history = _history(connection, [row["id"] for row in rows[:limit]])
        page = tuple(Message.of(row, tuple(history.get(row["id"], ()))) for row in rows[:limit])
        return MessagePage(page, page[-1].id if len(rows) > limit else None)

    def claim(self, owner: str, lease: float, *, each: int, each_tenant: int) -> Claim | None:
        """Return the next message that is due, for `lease` seconds, or None.

        each, each_tenant: the most that is under way for one endpoint and one tenant, over all processes
        """
        now = self._now()
        with reading(self._engine) as connection:  # who has nothing to do disturbs no writer
            if connection.execute(statements.due(now)).first() is None:
                return None
        until = now + timedelta(seconds=lease)
        given = statements.claim(owner, now, until, each=each, each_tenant=each_tenant).returning(*messages.c)
        with writing(self._engine) as connection:
            if connection.dialect.name == "postgresql":  # else claims of one instant do not count each other
                connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": CLAIM_LOCK})
            while (row := connection.execute(given).mappings().one_or_none()) is not None:
                endpoint = _endpoint(connection, row["endpoint"])
                if endpoint is not None and endpoint.disabled is None:
                    numbers = (row["claims"], row["attempts"], row["step"])
                    return Claim(row["id"], owner, *numbers, row["payload"], endpoint)
                connection.execute(cancel_waiting(row["endpoint"], now))  # added while it was being disabled
        return None

    def delivered(self, claim: Claim, attempt: Attempt) -> bool:
        """Keep that it arrived; False when the claim no longer holds, as for the two below."""
        return self._outcome(claim, attempt, {"status": "delivered", "done": self._now()})

    def failed(self, claim: Claim, attempt: Attempt, again_in: float | None, *, gone: bool = False) -> bool:
        """Keep that it failed, and when it is tried again, if it is; `gone`: nothing more is sent to this endpoint."""
        now = self._now()
        change: dict[str, Any] = {"status": "failed", "done": now, "step": messages.c.step + 1}
        if again_in is not None:
            change = {"next_at": now + timedelta(seconds=again_in), "step": messages.c.step + 1}
        return self._outcome(claim, attempt, change, gone=gone)

    def hand_back(self, claim: Claim) -> bool:
        """Give up a claim without fault of the receiver, as at shutdown: the step of the schedule is not used up."""
        back = statements.held(claim.id, claim.owner, claim.number).values(statements.NO_LEASE)
        with writing(self._engine) as connection:
            return connection.execute(back).rowcount == 1

    def expire_old(self, keep_for: float) -> int:
        """Delete some of the messages that ended more than `keep_for` seconds ago; returns how many."""
        old = statements.ended_before(self._now() - timedelta(seconds=keep_for))

        def some() -> int:
            with writing(self._engine) as connection:
                ids = connection.execute(old).scalars().all()
                connection.execute(delete(deliveries).where(deliveries.c.message.in_(ids)))
                return connection.execute(delete(messages).where(messages.c.id.in_(ids))).rowcount

        return in_steps(some, statements.ENDED_AT_ONCE)

    def on_work(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever this process knows of work; it must be quick and must not raise."""
        self._wakers = (*self._wakers, wake)

    def wake(self) -> None:
        """Tell this process's senders to look now: for callers of `add`, once their transaction has committed."""
        for wake in self._wakers:
            wake()

    def _insert(self, connection: Connection, endpoint: Endpoint, kind: str, payload: str) -> Message:
        now = self._now()
        values = {
            "id": new_id("msg"),
            "tenant": endpoint.tenant,
            "endpoint": endpoint.id,
            "kind": kind,
            "payload": payload,
            "status": "pending",
            "next_at": now,
            "created": now,
        }
        row = connection.execute(insert(messages).returning(*statements.SUMMARY), values).mappings().one()
        return Message.of(row)

    def _outcome(self, claim: Claim, attempt: Attempt, change: dict[str, Any], *, gone: bool = False) -> bool:
        held = statements.held(claim.id, claim.owner, claim.number)
        tried = {name: getattr(attempt, name) for name in ("at", "status", "error", "milliseconds")}
        with writing(self._engine) as connection:
            if connection.execute(held.values(change | statements.NO_LEASE)).rowcount == 0:
                return False
            connection.execute(insert(deliveries), {"message": claim.id, "number": claim.attempt, **tried})
            connection.execute(statements.forget_attempts(claim.id, claim.attempt))
            if gone:
                disabled = {"disabled": GONE}
                connection.execute(update(endpoints).where(endpoints.c.id == claim.endpoint.id).values(disabled))
                connection.execute(cancel_waiting(claim.endpoint.id, self._now()))
        return True


def payload_of(kind: str, at: datetime, data: Mapping[str, Any]) -> str:
    """Return the body of a webhook. What makes it too large is left out and named in `omitted`, largest first."""
    kept, omitted = dict(data), list[str]()
    while True:
        told = kept | ({"omitted": omitted} if omitted else {})
        body = orjson.dumps({"type": kind, "timestamp": rfc3339(at), "data": told}, default=str)
        if len(body) <= LARGEST or not kept:
            return body.decode()
        largest = max(kept, key=lambda name: len(orjson.dumps(kept[name], default=str)))
        omitted.append(largest)
        del kept[largest]


def _enabled(connection: Connection, id: str, tenant: str) -> Endpoint:
    found = _endpoint(connection, id)
    if found is None or found.tenant != tenant:
        raise NotFound("There is no such webhook.")
    if found.disabled is not None:
        raise ValidationFailed("The webhook is disabled: enable it first.")
    return found


def _endpoint(connection: Connection, id: str) -> Endpoint | None:
    row = connection.execute(select(*endpoints.c).where(endpoints.c.id == id)).mappings().one_or_none()
    return None if row is None else Endpoint.of(row)


def _history(connection: Connection, ids: list[str]) -> dict[str, list[Attempt]]:
    found: dict[str, list[Attempt]] = {}
    tried = select(deliveries).where(deliveries.c.message.in_(ids)).order_by(deliveries.c.number)
    for row in connection.execute(tried).mappings():
        attempt = Attempt(row["at"], row["status"], row["error"], row["milliseconds"])
        found.setdefault(row["message"], []).append(attempt)
    return found
