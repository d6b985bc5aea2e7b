"""Tenants and their projects. Neither a tenant nor what it used is ever deleted: it is suspended."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from llmapi.core.clock import Wall, utc_now
from llmapi.core.errors import NotFound, ValidationFailed
from llmapi.db.engine import reading, writing
from llmapi.db.tables.identity import keys, projects, tenants
from llmapi.tenants.changes import note_change
from llmapi.tenants.key_rows import ACTIVE, SUSPENDED, need_good_name, need_tenant
from llmapi.tenants.roles import OPERATORS_TENANT

GOOD_ID: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}", re.ASCII)
CHANGEABLE: Final = frozenset({"name", "plan", "state"})


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who has keys, work and a bill of its own."""

    id: str
    name: str
    state: str
    plan: str  # the named set of limits; "": none of its own
    created: datetime


@dataclass(frozen=True, slots=True)
class Project:
    """A part of a tenant that keys belong to and costs are booked on."""

    tenant: str
    id: str
    name: str
    created: datetime


class Tenants:
    """All tenants. Raises NotFound, and ValidationFailed naming fields.

    changed: told in this process after a change that keys must know of
    """

    def __init__(self, engine: Engine, *, now: Wall = utc_now, changed: Callable[[], object] = bool) -> None:
        self._engine, self._now, self._tell = engine, now, changed

    def create(self, id: str, *, name: str = "", plan: str = "") -> Tenant:
        """Make a tenant."""
        need_good_id(id)
        need_good_name(name or id)
        row = {"id": id, "name": name or id, "plan": plan, "state": ACTIVE, "created": self._now()}
        with writing(self._engine) as connection:
            if not put(connection, tenants, row):
                raise ValidationFailed("there is such a tenant", fields={"id": ["Is taken."]})
        self._tell()
        return self.get(id)

    def get(self, id: str) -> Tenant:
        """Return a tenant."""
        with reading(self._engine) as connection:
            row = connection.execute(select(*tenants.c).where(tenants.c.id == id)).mappings().one_or_none()
        if row is None:
            raise NotFound("There is no such tenant.")
        return Tenant(**row)

    def list(self, *, limit: int = 20, after: str | None = None) -> tuple[tuple[Tenant, ...], str | None]:
        """Return tenants by id, and what asks for the next ones."""
        found = select(*tenants.c).order_by(tenants.c.id).limit(limit + 1)
        if after is not None:
            found = found.where(tenants.c.id > after)
        with reading(self._engine) as connection:
            rows = [Tenant(**row) for row in connection.execute(found).mappings()]
        return tuple(rows[:limit]), rows[limit - 1].id if len(rows) > limit else None

    def update(self, id: str, values: Mapping[str, Any]) -> Tenant:
        """Change name, plan or state; the keys of a suspended tenant are good nowhere within 5 s."""
        need_changeable(id, values)
        with writing(self._engine) as connection:
            need_tenant(connection, id)
            if values:
                connection.execute(update(tenants).where(tenants.c.id == id).values(dict(values)))
                note_change(connection)
        self._tell()
        return self.get(id)

    def suspend(self, id: str) -> Tenant:
        """Let a tenant's keys be good no more until it is resumed."""
        return self.update(id, {"state": SUSPENDED})

    def resume(self, id: str) -> Tenant:
        """Let a tenant's keys be good again."""
        return self.update(id, {"state": ACTIVE})

    def create_project(self, tenant: str, id: str, *, name: str = "") -> Project:
        """Make a project of a tenant."""
        need_good_id(id)
        need_good_name(name or id)
        row = {"tenant": tenant, "id": id, "name": name or id, "created": self._now()}
        with writing(self._engine) as connection:
            need_tenant(connection, tenant)
            if not put(connection, projects, row):
                raise ValidationFailed("there is such a project", fields={"id": ["Is taken."]})
        return self.project(tenant, id)

    def project(self, tenant: str, id: str) -> Project:
        """Return a tenant's project."""
        mine = select(*projects.c).where(projects.c.tenant == tenant, projects.c.id == id)
        with reading(self._engine) as connection:
            row = connection.execute(mine).mappings().one_or_none()
        if row is None:
            raise NotFound("There is no such project.")
        return Project(**row)

    def projects(
        self, tenant: str, *, limit: int = 20, after: str | None = None
    ) -> tuple[tuple[Project, ...], str | None]:
        """Return a tenant's projects by id, and what asks for the next ones."""
        found = select(*projects.c).where(projects.c.tenant == tenant).order_by(projects.c.id).limit(limit + 1)
        if after is not None:
            found = found.where(projects.c.id > after)
        with reading(self._engine) as connection:
            rows = [Project(**row) for row in connection.execute(found).mappings()]
        return tuple(rows[:limit]), rows[limit - 1].id if len(rows) > limit else None

    def delete_project(self, tenant: str, id: str) -> None:
        """Delete a project that has no active keys; what was booked on it stays booked."""
        mine = delete(projects).where(projects.c.tenant == tenant, projects.c.id == id)
        used = select(keys.c.id).where(keys.c.tenant == tenant, keys.c.project == id, keys.c.state == ACTIVE).limit(1)
        with writing(self._engine) as connection:
            if connection.execute(used).one_or_none() is not None:
                raise ValidationFailed("the project is in use", fields={"id": ["Has active keys."]})
            if connection.execute(mine).rowcount == 0:
                raise NotFound("There is no such project.")


def need_good_id(id: str) -> None:
    """Raise ValidationFailed for an id that would not do in an address, a file or a log."""
    if not GOOD_ID.fullmatch(id):
        wrong = "1 to 64 of a-z, 0-9, _, . and -, beginning with a letter or a digit."
        raise ValidationFailed("an id is not good", fields={"id": [wrong]})


def need_changeable(id: str, values: Mapping[str, Any]) -> None:
    """Raise ValidationFailed for a change of a tenant that is none, or would lock the operator out."""
    if odd := sorted(set(values) - CHANGEABLE):
        raise ValidationFailed("this cannot be changed", fields={odd[0]: ["Cannot be changed."]})
    if "name" in values:
        need_good_name(values["name"])
    if values.get("state", ACTIVE) not in (ACTIVE, SUSPENDED):
        raise ValidationFailed("there is no such state", fields={"state": [f"Must be {ACTIVE} or {SUSPENDED}."]})
    if id == OPERATORS_TENANT and values.get("state") == SUSPENDED:
        raise ValidationFailed("the operator's tenant stays active", fields={"state": ["Cannot be suspended."]})


def put(connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert a row; False where there is one."""
    kind = postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
    made = kind.values(dict(row)).on_conflict_do_nothing().returning(table.c.id)
    return connection.execute(made).first() is not None
