"""Requests that carry a signature instead of a key: the secrets they are signed with, and whether one holds.

A key's own text is not kept, so no signature can be computed with it; a key that signs has a secret of its own.
"""

import hashlib
import secrets
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import structlog
from sqlalchemy import Engine, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from llmapi.core.clock import Monotonic, Wall, monotonic, utc_now
from llmapi.core.errors import NotFound, Unauthenticated
from llmapi.db.engine import reading, writing
from llmapi.db.tables.signing import signing_secrets as table
from llmapi.tenants import hmac_scheme
from llmapi.tenants.remembered import Remembered
from llmapi.tenants.nonces import Nonces
from llmapi.tenants.received import Claim, Received, SignatureWrong
from llmapi.tenants.resealing import need_key, seal_anew
from llmapi.tenants.sealing import Seal, Unreadable

PREFIX = "las_"
MESSAGE_SIGNATURE = ("signature", "signature-input")  # RFC 9421
INSERTS: Mapping[str, Any] = MappingProxyType({"sqlite": sqlite.insert, "postgresql": postgresql.insert})

log = structlog.get_logger(__name__)


class SigningSecrets:
    """The secrets by key id, sealed in the database; one changed elsewhere is known here within 5 s."""

    def __init__(self, engine: Engine, seal: Seal, *, now: Wall = utc_now, clock: Monotonic = monotonic) -> None:
        self._engine, self._seal, self._now = engine, seal, now
        self._known: Remembered[str, bytes | None] = Remembered(self._read, clock=clock)

    def issue(self, tenant: str, key_id: str) -> str:
        """Return a new secret for a key, shown this once; the one before it is gone. The key must be the tenant's."""
        secret = PREFIX + secrets.token_urlsafe(32)
        kept = {"secret": self._seal.close(secret, tenant, key_id), "created": self._now()}
        with writing(self._engine) as connection:
            put = INSERTS[connection.dialect.name](table).values(key_id=key_id, tenant=tenant, **kept)
            put = put.on_conflict_do_update(index_elements=[table.c.key_id], set_=kept, where=table.c.tenant == tenant)
            if connection.execute(put.returning(table.c.key_id)).first() is None:
                raise NotFound("there is no such key")
        self._known.forget(key_id)
        return secret

    def secret_of(self, key_id: str) -> bytes | None:
        """Return what a key signs with, None if it does not sign; raises Overloaded."""
        return self._known.get(key_id)

    def revoke(self, tenant: str, key_id: str) -> bool:
        """Let a key sign no more; says whether it could."""
        with writing(self._engine) as connection:
            gone = delete(table).where(table.c.key_id == key_id, table.c.tenant == tenant)
            found = connection.execute(gone).rowcount > 0
        self._known.forget(key_id)
        return found

    def seal_anew(self) -> int:
        """Seal every secret with the newest of the operator's keys, so that the older ones can go; returns how many."""
        return seal_anew(self._engine, self._seal, table.c.tenant, table.c.key_id)

    def check(self) -> None:
        """Raise BadSetting if there are secrets and nothing is set that could read them: no signature would hold."""
        need_key(self._engine, self._seal, table, "signing secrets")

    def _read(self, key_id: str) -> bytes | None:
        with reading(self._engine) as connection:
            row = connection.execute(select(table).where(table.c.key_id == key_id)).one_or_none()
        if row is None:
            return None
        try:
            return self._seal.open(row.secret, row.tenant, row.key_id).encode()
        except Unreadable:
            log.error("a signing secret cannot be read with the keys there are", key=key_id)
            return None


class Signatures:
    """Says which key signed a request. Every failure sounds the same."""

    def __init__(self, known: SigningSecrets, nonces: Nonces, *, now: Wall = utc_now) -> None:
        self.secrets, self._nonces, self._now = known, nonces, now
        self._nobodys = secrets.token_bytes(32)

    def key_id(self, received: Received) -> str | None:
        """Return the key that signed; None for a request without a signature. A nonce is spent by the first that holds.

        raises: Unauthenticated, Overloaded while nonces cannot be kept
        """
        ours = hmac_scheme.SIGNATURE in received.headers
        standard = any(name in received.headers for name in MESSAGE_SIGNATURE)
        if not (ours or standard):
            return None
        if ours and standard:
            raise refused()
        try:
            claim = self._claim(received, standard)
        except SignatureWrong:
            raise refused() from None
        if not self._nonces.spend(claim.key_id, claim.nonce):
            raise refused()
        return claim.key_id

    def _claim(self, received: Received, standard: bool) -> Claim:
        now = self._now().timestamp()
        if not standard:
            return hmac_scheme.verified(received, self._secret_of, now)
        from llmapi.tenants import message_signatures  # with its library 60 ms, for those who use it

        return message_signatures.verified(received, self._secret_of, now)

    def _secret_of(self, key_id: str) -> bytes:
        """Return the secret of a key; of one that has none what nobody knows, at the same pace."""
        return self.secrets.secret_of(key_id) or hashlib.sha256(self._nobodys + key_id.encode()).digest()


def refused() -> Unauthenticated:
    return Unauthenticated("the signature is not valid")
