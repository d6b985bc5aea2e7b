"""Who all may have work here: tenants with a row, those the settings' own keys name, and the operator's."""

from collections.abc import Iterable, Iterator
from typing import Final

from pydantic import SecretStr

from llmapi.tenants.roles import OPERATORS_TENANT
from llmapi.tenants.tenants import Tenant, Tenants

PAGE: Final = 1000


def every_tenant(tenants: Tenants, static_keys: Iterable[SecretStr]) -> list[str]:
    """Return the ids of all tenants, each once."""
    named = (key.get_secret_value().rpartition(":")[0] for key in static_keys)
    return sorted({OPERATORS_TENANT, *filter(None, named), *(row.id for row in rows(tenants))})


def rows(tenants: Tenants) -> Iterator[Tenant]:
    """Yield the tenants that have a row, by id."""
    after, more = None, True
    while more:
        found, after = tenants.list(limit=PAGE, after=after)
        yield from found
        more = after is not None
