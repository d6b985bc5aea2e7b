"""flask ledger: verify, purge and export."""

import json

from sqlalchemy import func, select, update

from llmapi.core.clock import utc_now
from llmapi.db.engine import reading, writing
from llmapi.db.tables.ledger import ledger
from llmapi.db.tables.usage import days as usage_days
from llmapi.services import Services
from tests.cli.conftest import Run
from tests.costs.booked import NOON, book, days, row


def test_a_right_ledger_is_told_from_a_wrong_one(services: Services, flask: Run) -> None:
    book(services.engine, [row(cost=0, pricing="free")])
    assert flask("ledger", "verify").exit_code == 0
    with writing(services.engine) as connection:
        connection.execute(update(usage_days).values(requests=2))
    said = flask("ledger", "verify")
    assert (said.exit_code, "usage_days of default" in said.stderr) == (1, True)


def test_old_rows_are_deleted_on_demand(services: Services, flask: Run) -> None:
    book(services.engine, [row(utc_now() - days(age)) for age in (0, 3, 50)])
    assert "ledger: 0 rows" in flask("ledger", "purge").stdout
    assert "ledger: 1 rows" in flask("ledger", "purge", "--days", "30").stdout
    with reading(services.engine) as connection:
        assert connection.execute(select(func.count()).select_from(ledger)).scalar_one() == 2


def test_who_deleted_rows_is_written_down(services: Services, flask: Run) -> None:
    book(services.engine, [row(utc_now() - days(age)) for age in (0, 50)])
    flask("ledger", "purge", "--days", "30")
    (entry,) = services.audit.page(None).entries
    assert (entry.tenant, entry.action, entry.actor[:4]) == ("default", "ledger.purge", "cli:")
    assert json.loads(entry.details) == {"days": 30, "ledger": 1, "users": 1, "hours": 0}


def test_rows_are_exported_with_money_in_dollars(services: Services, flask: Run) -> None:
    mine = row(cost=12_500, price='{"input":"0.3"}')
    book(services.engine, [mine, row(cost=None, pricing="unpriced"), row(tenant="acme"), row(NOON - days(9))])
    said = flask("ledger", "export", "--tenant", "default", "--from", "2026-11-18", "--to", "2026-11-19")
    assert said.exit_code == 0, said.output + repr(said.exception)
    first, second = map(json.loads, said.stdout.splitlines())
    assert (first["entry"], first["cost"], first["saved"]) == (mine["entry"], "0.0000125", "0")
    assert (first["at"], first["price"]) == ("2026-11-18T12:00:00.000Z", {"input": "0.3"})
    assert (second["cost"], second["pricing"]) == (None, "unpriced")
