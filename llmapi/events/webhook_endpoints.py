"""Where webhooks go: the endpoints tenants named, which events each wants, and the secrets it is signed with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, RowMapping, Select, Update, delete, func, insert, select, update

from llmapi.core.clock import Wall, utc_now
from llmapi.core.errors import NotFound, ValidationFailed
from llmapi.core.ids import new_id
from llmapi.db.engine import reading, writing
from llmapi.db.tables.webhooks import endpoints, messages
from llmapi.events.webhook_secrets import Seal, new_secret

TEST = "webhook.test"
KINDS = (
    "job.succeeded", "job.failed", "job.cancelled", "job.dead",
    "batch.completed", "batch.failed", "batch.expired", "batch.cancelled", "budget.alert", TEST,
)
OWNER, GONE = "by its owner", "its receiver answered 410 Gone"  # why an endpoint is disabled
OVERLAP = 86_400.0  # seconds a replaced secret goes on signing
MOST = 50  # endpoints of one tenant


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint. The secrets are as the database keeps them."""

    id: str
    tenant: str
    url: str
    events: tuple[str, ...]
    description: str
    disabled: str | None  # why
    created: datetime
    secret: str = field(repr=False)
    previous_secret: str | None = field(repr=False)
    previous_until: datetime | None

    @classmethod
    def of(cls, row: RowMapping) -> "Endpoint":
        """Return the endpoint of a row."""
        return cls(**{name: row[name] for name in cls.__slots__} | {"events": tuple(orjson.loads(row["events"]))})

    def wants(self, kind: str) -> bool:
        """Say whether events of this kind are sent here."""
        return any(matches(pattern, kind) for pattern in self.events)

    def sealed_secrets(self, now: datetime) -> tuple[str, ...]:
        """Return what signs at this moment, the current secret first."""
        if self.previous_secret is None or self.previous_until is None or self.previous_until <= now:
            return (self.secret,)
        return (self.secret, self.previous_secret)


@dataclass(frozen=True, slots=True)
class EndpointPage:
    """Endpoints, newest first, and where the next page begins (None: this is the last)."""

    endpoints: tuple[Endpoint, ...]
    after: str | None


class Endpoints:
    """Durable endpoints. `allows` says whether anything would be sent to a URL."""

    def __init__(
        self, engine: Engine, allows: Callable[[str], bool], *, seal: Seal | None = None, now: Wall = utc_now
    ) -> None:
        self._engine = engine
        self._allows = allows
        self._seal = seal or Seal()
        self._now = now

    def create(
        self, tenant: str, url: str, *, events: Sequence[str] = ("*",), description: str = ""
    ) -> tuple[Endpoint, str]:
        """Return the new endpoint and its secret, which is never told again; raises ValidationFailed."""
        self._need_good(url, events)
        secret = new_secret()
        values = {
            "id": new_id("whe"),
            "tenant": tenant,
            "url": url,
            "events": orjson.dumps(list(events)).decode(),
            "description": description,
            "secret": self._seal.close(secret),
            "created": self._now(),
        }
        with writing(self._engine) as connection:
            found = select(func.count()).select_from(endpoints).where(endpoints.c.tenant == tenant)
            if connection.execute(found).scalar_one() >= MOST:
                raise ValidationFailed(f"There are {MOST} webhooks already: delete one first.")
            row = connection.execute(insert(endpoints).returning(*endpoints.c), values).mappings().one()
        return Endpoint.of(row), secret

    def get(self, id: str, tenant: str) -> Endpoint:
        """Return an endpoint; raises NotFound, also for somebody else's, as all below do."""
        with reading(self._engine) as connection:
            return _one(connection.execute(_mine(id, tenant)).mappings().one_or_none())

    def list(self, tenant: str, *, limit: int = 20, after: str | None = None) -> EndpointPage:
        """Return a tenant's endpoints, newest first; `after` is the last page's."""
        found = select(*endpoints.c).where(endpoints.c.tenant == tenant).order_by(endpoints.c.id.desc())
        if after is not None:
            found = found.where(endpoints.c.id < after)
        with reading(self._engine) as connection:
            rows = connection.execute(found.limit(limit + 1)).mappings().all()
        page = tuple(Endpoint.of(row) for row in rows[:limit])
        return EndpointPage(page, page[-1].id if len(rows) > limit else None)

    def change(
        self,
        id: str,
        tenant: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        description: str | None = None,
        disabled: bool | None = None,
    ) -> Endpoint:
        """Change what is given; raises ValidationFailed. What waits for an endpoint that is disabled is cancelled."""
        known = self.get(id, tenant)
        self._need_good(url if url != known.url else None, events or ())
        values: dict[str, Any] = {"url": url, "description": description}
        values["events"] = None if events is None else orjson.dumps(list(events)).decode()
        changed = {name: value for name, value in values.items() if value is not None}
        if disabled is not None:
            changed["disabled"] = (known.disabled or OWNER) if disabled else None
        if not changed:
            return known
        with writing(self._engine) as connection:
            if disabled:
                connection.execute(cancel_waiting(id, self._now()))
            return _changed(connection, id, tenant, changed)

    def rotate(self, id: str, tenant: str) -> tuple[Endpoint, str]:
        """Return the endpoint and its new secret; the old one signs beside it for a day."""
        secret, now = new_secret(), self._now()
        values = {
            "previous_secret": endpoints.c.secret,
            "previous_until": now + timedelta(seconds=OVERLAP),
            "secret": self._seal.close(secret),
        }
        with writing(self._engine) as connection:
            return _changed(connection, id, tenant, values), secret

    def delete(self, id: str, tenant: str) -> None:
        """Delete an endpoint; what waits for it is cancelled."""
        with writing(self._engine) as connection:
            mine = delete(endpoints).where(endpoints.c.id == id, endpoints.c.tenant == tenant)
            if connection.execute(mine).rowcount == 0:
                raise NotFound("There is no such webhook.")
            connection.execute(cancel_waiting(id, self._now()))

    def secrets(self, endpoint: Endpoint, now: datetime) -> tuple[str, ...]:
        """Return the secrets that sign at this moment; raises SecretUnreadable."""
        return tuple(self._seal.open(kept) for kept in endpoint.sealed_secrets(now))

    def _need_good(self, url: str | None, events: Sequence[str]) -> None:
        odd = [pattern for pattern in events if not any(matches(pattern, kind) for kind in KINDS)]
        if odd:
            raise ValidationFailed(
                f"no event is called {odd[0][:64]}", fields={"events": [f"of *, job.*, {', '.join(KINDS)}"]}
            )
        if url is not None and not self._allows(url):
            raise ValidationFailed(
                "webhooks are not sent to this address", fields={"url": ["must be a public https address that exists"]}
            )


def matches(pattern: str, kind: str) -> bool:
    """Say whether a filter (`*`, `job.*` or a kind) takes a kind of event."""
    return pattern in ("*", kind) or (pattern.endswith(".*") and kind.startswith(pattern[:-1]))


def cancel_waiting(endpoint: str, now: datetime) -> Update:
    """Cancel what waits for an endpoint; an attempt under way cannot be called back, but it is the last."""
    waiting = (messages.c.endpoint == endpoint, messages.c.status == "pending")
    ended = {"status": "cancelled", "done": now, "lease_owner": None, "lease_until": None}
    return update(messages).where(*waiting).values(ended)


def _mine(id: str, tenant: str) -> Select[Any]:
    return select(*endpoints.c).where(endpoints.c.id == id, endpoints.c.tenant == tenant)


def _changed(connection: Connection, id: str, tenant: str, values: dict[str, Any]) -> Endpoint:
    change = update(endpoints).where(endpoints.c.id == id, endpoints.c.tenant == tenant).values(values)
    return _one(connection.execute(change.returning(*endpoints.c)).mappings().one_or_none())


def _one(row: RowMapping | None) -> Endpoint:
    if row is None:
        raise NotFound("There is no such webhook.")
    return Endpoint.of(row)
