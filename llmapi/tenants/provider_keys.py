"""The keys tenants have with providers: stored once, sealed, and used instead of the operator's for their calls."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

import structlog
from pydantic import SecretStr
from sqlalchemy import Engine, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from llmapi.core.clock import Monotonic, Wall, monotonic, utc_now
from llmapi.core.errors import NotFound, ProviderInvalid
from llmapi.db.engine import reading, writing
from llmapi.db.tables.signing import provider_keys as table
from llmapi.tenants.remembered import Remembered
from llmapi.tenants.resealing import need_key, seal_anew
from llmapi.tenants.sealing import Seal, Unreadable

SHOWN = 4  # characters of a key that tell it from others
LONG_ENOUGH = 16  # characters of a key of which so many may be shown
INSERTS: Mapping[str, Any] = MappingProxyType({"sqlite": sqlite.insert, "postgresql": postgresql.insert})
NONE: Mapping[str, SecretStr | None] = MappingProxyType({})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A stored key as it may be shown."""

    provider: str
    ending: str  # its last four characters; "" for a key too short to show any
    created: datetime


class ProviderKeys:
    """The keys by tenant and provider. One changed elsewhere is known here within 5 s; while the database cannot be
    read the keys known last go on, so that no tenant's call is paid by another.

    providers: the names of those that take a key
    """

    def __init__(
        self,
        engine: Engine,
        seal: Seal,
        *,
        providers: Collection[str],
        now: Wall = utc_now,
        clock: Monotonic = monotonic,
    ) -> None:
        self._engine, self._seal, self._now = engine, seal, now
        self._providers = frozenset(providers)
        self._known: Remembered[str, Mapping[str, SecretStr | None]] = Remembered(
            self._read, outlives=True, clock=clock
        )

    def put(self, tenant: str, provider: str, key: str) -> StoredKey:
        """Store a key in place of the one before; raises NotFound for an unknown provider, Forbidden without a seal."""
        self._need_taker(provider)
        ending = key[-SHOWN:] if len(key) >= LONG_ENOUGH else ""
        stored = StoredKey(provider, ending, self._now())
        kept = {"secret": self._seal.close(key, tenant, provider), "ending": ending, "created": stored.created}
        with writing(self._engine) as connection:
            put = INSERTS[connection.dialect.name](table).values(tenant=tenant, provider=provider, **kept)
            connection.execute(put.on_conflict_do_update(index_elements=list(table.primary_key), set_=kept))
        self._known.forget(tenant)
        return stored

    def get(self, tenant: str, provider: str) -> SecretStr | None:
        """Return the key to use; raises ProviderInvalid for one that cannot be read: nobody else's may stand in."""
        known = self._of(tenant)
        if provider not in known:
            return None
        key = known[provider]
        if key is None:
            raise ProviderInvalid("The key stored for this provider cannot be read any more: store it again.")
        return key

    def providers_of(self, tenant: str) -> frozenset[str]:
        """Return the providers a tenant has keys for."""
        return frozenset(self._of(tenant))

    def stored(self, tenant: str) -> list[StoredKey]:
        """Return what a tenant has stored, by provider."""
        mine = select(table.c.provider, table.c.ending, table.c.created).where(table.c.tenant == tenant)
        with reading(self._engine) as connection:
            return [StoredKey(*row) for row in connection.execute(mine.order_by(table.c.provider))]

    def delete(self, tenant: str, provider: str) -> None:
        """Forget a key; raises NotFound."""
        with writing(self._engine) as connection:
            gone = delete(table).where(table.c.tenant == tenant, table.c.provider == provider)
            found = connection.execute(gone).rowcount
        self._known.forget(tenant)
        if not found:
            raise NotFound("no key is stored for a provider of this name")

    def seal_anew(self) -> int:
        """Seal every key with the newest of the operator's, so that the older ones can go; returns how many."""
        return seal_anew(self._engine, self._seal, table.c.tenant, table.c.provider)

    def check(self) -> None:
        """Raise BadSetting if keys are stored and nothing is set that could read them: the operator would pay."""
        need_key(self._engine, self._seal, table, "stored provider keys")

    def _of(self, tenant: str) -> Mapping[str, SecretStr | None]:
        return self._known.get(tenant) if self._seal.ready else NONE

    def _need_taker(self, provider: str) -> None:
        if provider not in self._providers:
            raise NotFound("no provider of this name takes a key")

    def _read(self, tenant: str) -> Mapping[str, SecretStr | None]:
        with reading(self._engine) as connection:
            rows = list(connection.execute(select(table).where(table.c.tenant == tenant)))
        return {row.provider: self._opened(row) for row in rows}

    def _opened(self, row: Any) -> SecretStr | None:
        try:
            return SecretStr(self._seal.open(row.secret, row.tenant, row.provider))
        except Unreadable:
            log.error("a stored provider key cannot be read", tenant=row.tenant, provider=row.provider)
            return None
