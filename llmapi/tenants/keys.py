"""The keyring: whose key is this, and the making, changing, rotating and revoking of keys."""

import hashlib
import hmac
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, RowMapping, bindparam, insert, select, update

from llmapi.core.clock import Monotonic, Wall, monotonic, utc_now
from llmapi.core.errors import ValidationFailed
from llmapi.core.identity import EVERYTHING
from llmapi.db.engine import reading, writing
from llmapi.db.tables.identity import changes, keys, tenants
from llmapi.tenants.changes import Changes, note_change
from llmapi.tenants.holders import KeyHolder, Known, Memory, holder_of, networks_of
from llmapi.tenants.key_rows import ACTIVE, REVOKED, ApiKey, KeyPage, as_kept, mine, need_few, need_future
from llmapi.tenants.key_rows import need_good_name, need_project, need_tenant, one
from llmapi.tenants.key_words import id_of, new_key, new_secret
from llmapi.tenants.last_use import LastUse
from llmapi.tenants.roles import OPERATORS_TENANT, checked_scopes, need_within
from llmapi.tenants.suspended import Suspended

GOOD: Final = 10_000  # keys a process remembers
WRONG: Final = 4096  # wrong ones
LONGEST_OVERLAP: Final = 30 * 86_400.0  # seconds
CHANGEABLE: Final = frozenset(
    "name role scopes project expires addresses requires_signature may_name_user plan".split()
)

ITS_ROW: Final = (
    select(
        *keys.c,
        tenants.c.state.label("tenant_state"),
        tenants.c.plan.label("tenant_plan"),
        changes.c.version,
    )
    .join_from(changes, keys, keys.c.id == bindparam("key"), isouter=True)
    .join(tenants, tenants.c.id == keys.c.tenant, isouter=True)
)


class Keyring:
    """All keys of all tenants. Thread-safe; `start` writes last uses, and need not be called for anything else.

    pepper: without it the database's digests cannot be told from noise; never kept beside them
    fresh: seconds what is known of keys is not looked after; a change anywhere is known everywhere within 5 s
    """

    def __init__(
        self,
        engine: Engine,
        pepper: bytes,
        *,
        fresh: float = 2.0,
        now: Wall = utc_now,
        clock: Monotonic = monotonic,
    ) -> None:
        self._engine, self._pepper, self._now = engine, pepper, now
        self._changes = Changes(engine, fresh=fresh, clock=clock)
        self._good, self._wrong = Memory(GOOD), Memory(WRONG)
        self._nobody = self._digest("nobody").hex()  # compared with where there is no key of an id
        self.uses = LastUse(engine)
        self.suspended = Suspended(engine, self._changes)

    def start(self) -> None:
        """Begin to write when keys were used last."""
        self.uses.start()

    def stop(self) -> None:
        """Write it a last time."""
        self.uses.stop()

    def changed(self) -> None:
        """Look at once for changes the next time: this process made one."""
        self._changes.forget()

    def identify(self, key: str, address: str) -> KeyHolder | None:
        """Return whom a key stands for that came from an address; None, whatever is wrong with it.

        raises: Overloaded when the database has been away for longer than old knowledge is good
        """
        digest = self._digest(key)
        known = self._good.get(digest) or self._wrong.get(digest)
        if known is None and id_of(key) is None:
            return None
        version = self._changes.version()
        if known is None or known.version != version:
            known = self._looked_up(id_of(key) or "", digest.hex())
            self._remember(digest, known)
        return self._let_in(known, address)

    def holder(self, id: str, address: str) -> KeyHolder | None:
        """Return whom a key stands for by its public id, for who proved in another way that it is theirs."""
        known, version = self._good.get(id) or self._wrong.get(id), self._changes.version()
        if known is None or known.version != version:
            known = self._looked_up(id, None)
            self._remember(id, known)
        return self._let_in(known, address)

    def create(
        self,
        tenant: str,
        *,
        name: str,
        role: str,
        scopes: Iterable[str] | None = None,
        project: str = "",
        expires: datetime | None = None,
        addresses: Iterable[str] = (),
        requires_signature: bool = False,
        may_name_user: bool = False,
        plan: str = "",
        maker: Collection[str] = EVERYTHING,
    ) -> tuple[ApiKey, str]:
        """Return a new key's row, and the key, which nobody can show again.

        scopes: fewer than the role's; None: all of them, also those it will have
        addresses: networks it may be used from; none: any
        maker: the scopes of who makes it, beyond which it gets none
        raises: NotFound, ValidationFailed naming fields, Forbidden
        """
        values = {
            "name": name,
            "role": role,
            "scopes": None if scopes is None else tuple(scopes),
            "project": project,
            "expires": expires,
            "addresses": tuple(addresses),
            "requires_signature": requires_signature,
            "may_name_user": may_name_user,
            "plan": plan,
        }
        self._need_good(tenant, values, maker)
        with writing(self._engine) as connection:
            made = self._insert(connection, tenant, values)
            note_change(connection)
        self.changed()
        return made

    def rotate(
        self, tenant: str, id: str, overlap: float, *, maker: Collection[str] = EVERYTHING
    ) -> tuple[ApiKey, str]:
        """Return the key with a new secret; the old one is good for `overlap` seconds more, an older one no more."""
        if not 0 <= overlap <= LONGEST_OVERLAP:
            raise ValidationFailed(
                "the overlap is too long", fields={"overlap": [f"0 to {LONGEST_OVERLAP:.0f} seconds."]}
            )
        key = new_secret(id)
        with writing(self._engine) as connection:
            row = self._active(connection, tenant, id, maker)
            until = self._now() + timedelta(seconds=overlap) if overlap else None
            values: dict[str, Any] = {"digest": self._digest(key).hex(), "previous_until": until}
            values["previous_digest"] = keys.c.digest if overlap else None
            changed = _changed(connection, row, values)
        self.changed()
        return changed, key

    def revoke(self, tenant: str, id: str, *, maker: Collection[str] = EVERYTHING) -> ApiKey:
        """Let a key be good no more, for ever; one that is revoked already stays so. Raises NotFound, Forbidden."""
        with writing(self._engine) as connection:
            row = ApiKey.of(one(connection.execute(mine(tenant, id)).mappings().one_or_none()))
            need_within(row.granted, maker)
            if row.state == ACTIVE:
                row = _changed(connection, row, {"state": REVOKED, "previous_digest": None, "previous_until": None})
        self.changed()
        return row

    def update(
        self, tenant: str, id: str, values: Mapping[str, Any], *, maker: Collection[str] = EVERYTHING
    ) -> ApiKey:
        """Change what is given, under the names `create` has; raises NotFound, ValidationFailed, Forbidden."""
        if odd := sorted(set(values) - CHANGEABLE):
            raise ValidationFailed("this cannot be changed", fields={odd[0]: ["Cannot be changed."]})
        with writing(self._engine) as connection:
            row = self._active(connection, tenant, id, maker)
            now_so = {each: getattr(row, each) for each in CHANGEABLE if each != "expires"}
            self._need_good(tenant, {**now_so, **values}, maker)
            need_project(connection, tenant, values.get("project", ""))
            changed = _changed(connection, row, as_kept(values)) if values else row
        self.changed()
        return changed

    def get(self, tenant: str, id: str) -> ApiKey:
        """Return a key; raises NotFound, the same for one that is not and for somebody else's."""
        with reading(self._engine) as connection:
            return ApiKey.of(one(connection.execute(mine(tenant, id)).mappings().one_or_none()))

    def owner(self, id: str) -> str:
        """Return the tenant of a key, for an operator who names no tenant; raises NotFound."""
        with reading(self._engine) as connection:
            row = connection.execute(select(keys.c.tenant).where(keys.c.id == id)).mappings().one_or_none()
        return str(one(row)["tenant"])

    def get_within(self, tenant: str, id: str, maker: Collection[str]) -> ApiKey:
        """Return a key that can do no more than its maker, so that he may have secrets of it; Forbidden otherwise."""
        row = self.get(tenant, id)
        need_within(row.granted, maker)
        return row

    def list(self, tenant: str, *, limit: int = 20, after: str | None = None) -> KeyPage:
        """Return a tenant's keys, newest first, revoked ones too; `after` is the last page's."""
        found = select(*keys.c).where(keys.c.tenant == tenant).order_by(keys.c.id.desc()).limit(limit + 1)
        if after is not None:
            found = found.where(keys.c.id < after)
        with reading(self._engine) as connection:
            rows = [ApiKey.of(row) for row in connection.execute(found).mappings()]
        page = tuple(rows[:limit])
        return KeyPage(page, page[-1].id if len(rows) > limit else None)

    def first(self) -> tuple[ApiKey, str] | None:
        """Return an admin's key of the operator's tenant if there never was any key; of many who ask, one gets it."""
        none_yet = ~select(keys.c.id).exists()
        claim = update(changes).where(changes.c.first_key.is_(None), none_yet).values(first_key=self._now())
        with writing(self._engine) as connection:
            if connection.execute(claim).rowcount == 0:
                return None
            values = {"name": "first", "role": "admin", "scopes": None, "addresses": (), "project": "", "plan": ""}
            made = self._insert(connection, OPERATORS_TENANT, values)
            note_change(connection)
        self.changed()
        return made

    def _digest(self, key: str) -> bytes:
        return hmac.digest(self._pepper, key.encode("utf-8", "surrogateescape"), hashlib.sha256)

    def _remember(self, name: bytes | str, known: Known) -> None:
        if known.holder is not None:
            self._good.put(name, known)
        else:
            self._good.drop(name)
            self._wrong.put(name, known)

    def _let_in(self, known: Known, address: str) -> KeyHolder | None:
        now = self._now()
        holder = known.let_in(now, address)
        if holder is not None:
            self.uses.seen[holder.id] = now
        return holder

    def _looked_up(self, id: str, digest: str | None) -> Known:
        """Return what the database knows of a key, in one statement and so of one moment."""
        with reading(self._engine) as connection:
            row = connection.execute(ITS_ROW, {"key": id}).mappings().one()
        return self._judged(row, digest)

    def _judged(self, row: RowMapping, digest: str | None) -> Known:
        current, previous = row["digest"] or self._nobody, row["previous_digest"] or self._nobody
        is_current = digest is None or hmac.compare_digest(current, digest)
        is_previous = digest is not None and hmac.compare_digest(previous, digest)
        if row["state"] != ACTIVE or row["tenant_state"] != ACTIVE or not (is_current or is_previous):
            return Known(row["version"])
        kept = ApiKey.of(row)
        ends = [row["expires"], None if is_current else row["previous_until"]]
        until = min((end for end in ends if end is not None), default=None)
        return Known(row["version"], holder_of(kept, row["tenant_plan"]), until, networks_of(kept.addresses))

    def _need_good(self, tenant: str, values: Mapping[str, Any], maker: Collection[str]) -> None:
        need_good_name(values["name"])
        need_future(values.get("expires"), self._now())
        need_few(values["addresses"])
        networks_of(values["addresses"])
        need_within(checked_scopes(tenant, values["role"], values["scopes"]), maker)

    def _insert(self, connection: Connection, tenant: str, values: Mapping[str, Any]) -> tuple[ApiKey, str]:
        need_tenant(connection, tenant)
        need_project(connection, tenant, values.get("project", ""))
        id, key = new_key()
        own = {"id": id, "tenant": tenant, "state": ACTIVE, "created": self._now(), "digest": self._digest(key).hex()}
        made = insert(keys).values(**as_kept(values), **own).returning(*keys.c)
        return ApiKey.of(connection.execute(made).mappings().one()), key

    def _active(self, connection: Connection, tenant: str, id: str, maker: Collection[str]) -> ApiKey:
        """Return a key that may be changed by somebody: not revoked, and no more than its maker may."""
        row = ApiKey.of(one(connection.execute(mine(tenant, id).with_for_update()).mappings().one_or_none()))
        if row.state != ACTIVE:
            raise ValidationFailed("a revoked key stays as it is", fields={"id": ["The key is revoked."]})
        need_within(row.granted, maker)
        return row


def _changed(connection: Connection, row: ApiKey, values: Mapping[str, Any]) -> ApiKey:
    """Write the change, and that there is one."""
    note_change(connection)
    change = update(keys).where(keys.c.id == row.id, keys.c.tenant == row.tenant).values(dict(values))
    return ApiKey.of(connection.execute(change.returning(*keys.c)).mappings().one())
