"""Which tenants are suspended, for keys that have no row beside their tenant's: those of the settings."""

from sqlalchemy import Engine, select

from llmapi.db.engine import reading
from llmapi.db.tables.identity import tenants
from llmapi.tenants.changes import Changes
from llmapi.tenants.key_rows import SUSPENDED
from llmapi.tenants.roles import OPERATORS_TENANT


class Suspended:
    """`tenant in suspended`; a change anywhere is known within 5 s. The operator's tenant never is, whatever happens.

    What is remembered is bounded by who asks: as many tenants as the settings name.
    """

    def __init__(self, engine: Engine, changes: Changes) -> None:
        self._engine, self._changes = engine, changes
        self._known: dict[str, tuple[int, bool]] = {}  # since which change, and whether

    def __contains__(self, tenant: str) -> bool:
        """Say whether a tenant is suspended; one nobody made is not. Raises Overloaded when it cannot be known."""
        if tenant == OPERATORS_TENANT:
            return False
        version = self._changes.version()
        known = self._known.get(tenant)
        if known is None or known[0] != version:
            known = self._known[tenant] = (version, self._read(tenant))
        return known[1]

    def _read(self, tenant: str) -> bool:
        with reading(self._engine) as connection:
            found = connection.scalar(select(tenants.c.state).where(tenants.c.id == tenant))
        return found == SUSPENDED
