"""Whether a tenant is suspended, for keys that are no rows."""

import pytest
from sqlalchemy import Engine

from llmapi.core.errors import Overloaded
from llmapi.tenants.changes import Changes
from llmapi.tenants.suspended import Suspended
from llmapi.tenants.tenants import Tenants
from tests.servers.databases import Database, away
from tests.tenants.conftest import Time


@pytest.fixture
def suspended(engine: Engine, time: Time) -> Suspended:
    return Suspended(engine, Changes(engine, clock=time.clock))


def test_a_suspension_elsewhere_is_known_within_5_s_and_so_is_its_end(
    suspended: Suspended, tenants: Tenants, time: Time
) -> None:
    seen = ["acme" in suspended]
    for act in (tenants.suspend, tenants.resume):
        act("acme")
        time.pass_(5)
        seen.append("acme" in suspended)
    assert seen == [False, True, False]


def test_whom_nobody_made_is_not_suspended(suspended: Suspended) -> None:
    assert "nobody" not in suspended


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_operator_is_let_in_while_the_database_is_away_and_nobody_else(
    suspended: Suspended, database: Database, engine: Engine
) -> None:
    away(engine)
    assert "default" not in suspended
    with pytest.raises(Overloaded):
        assert "acme" in suspended
