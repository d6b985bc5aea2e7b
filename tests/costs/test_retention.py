"""What is old goes, a little at a time and by one process; what is told stays right, and the books still prove."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine, func, insert, select, update

from llmapi.core.clock import utc_now
from llmapi.core.errors import ValidationFailed
from llmapi.costs import postings
from llmapi.costs.retention import Retention
from llmapi.costs.usage import Question, Usage
from llmapi.costs.usage_check import differences
from llmapi.db.engine import reading, writing
from llmapi.db.tables.ledger import ledger
from llmapi.db.tables.ledger import postings as posted
from llmapi.db.tables.usage import days as usage_days
from llmapi.db.tables.usage import hours, users
from tests.costs.booked import NOON, book, counted, days, mixed, row
from tests.servers.databases import Database

DAY = 86_400.0
ROWS = mixed(300, NOON - days(30), NOON, cache="miss", pricing="priced", cost=500)
MIDNIGHT = (NOON - days(10)).replace(hour=0)
Make = Callable[..., Retention]


@pytest.fixture
def engine(database: Database) -> Engine:
    engine = database.open()
    book(engine, ROWS)
    with writing(engine) as connection:
        connection.execute(insert(posted), [each for row in ROWS for each in postings.posted(row, [])])
    return engine


@pytest.fixture
def make(engine: Engine) -> Make:
    def open_one(at: datetime = NOON, **more: Any) -> Retention:
        spans = {"ledger_kept": 10 * DAY, "hours_kept": 20 * DAY, **more}
        return Retention(engine, **spans, now=lambda: at)

    return open_one


def count(engine: Engine, *tables: Any) -> list[int]:
    with reading(engine) as connection:
        return [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]


def test_rows_older_than_kept_are_deleted_in_steps_and_the_others_stay(engine: Engine, make: Make) -> None:
    old = [each for each in ROWS if each["at"] < MIDNIGHT]
    assert make(step=7).purge()["ledger"] == len(old) > 100
    with reading(engine) as connection:
        assert connection.execute(select(func.min(ledger.c.at))).scalar_one() >= MIDNIGHT
        assert connection.execute(select(func.min(users.c.start))).scalar_one() >= MIDNIGHT
        assert connection.execute(select(func.min(hours.c.start))).scalar_one() >= MIDNIGHT - days(10)
    assert count(engine, ledger) == [len(ROWS) - len(old)]


def test_days_are_told_for_good_and_the_books_still_prove_right(engine: Engine, make: Make) -> None:
    before = count(engine, usage_days)
    make(step=50).purge()
    assert count(engine, usage_days) == before
    total = Usage(engine).ask(Question("default", (NOON - days(31)).replace(hour=0), MIDNIGHT)).total
    assert total.cost == counted(each for each in ROWS if each["at"] < MIDNIGHT)["cost"] > 0
    assert (postings.verify(engine), differences(engine)) == ([], [])
    assert count(engine, posted)[0] < 2 * len(ROWS)


def test_what_is_gone_is_refused_and_not_told_by_half(engine: Engine, make: Make) -> None:
    make().purge()
    with pytest.raises(ValidationFailed, match="no longer known"):
        Usage(engine).ask(Question("default", MIDNIGHT - days(1), NOON, by=("user",)))
    assert Usage(engine).ask(Question("default", MIDNIGHT, NOON, by=("user",))).total.requests > 0


def test_a_longer_span_later_brings_nothing_back(engine: Engine, make: Make) -> None:
    make().purge()
    make(ledger_kept=300 * DAY).purge()
    with pytest.raises(ValidationFailed, match="no longer known"):
        Usage(engine).ask(Question("default", MIDNIGHT - days(1), NOON, by=("user",)))


def test_of_many_processes_one_deletes_in_an_hour(make: Make) -> None:
    assert [make().look() for _ in range(4)] == [True, False, False, False]
    assert [make(NOON + days(1 / 24)).look() for _ in range(2)] == [True, False]


def test_a_retention_that_runs_stops_at_once(make: Make) -> None:
    retention = make(utc_now())
    retention.start()
    retention.stop()
    assert retention.purge() == {"ledger": 0, "users": 0, "hours": 0}


def test_a_sum_that_is_not_its_rows_is_found_out(engine: Engine) -> None:
    assert differences(engine) == []
    one = row(at=NOON, tenant="zed", cost=5)
    book(engine, [one])
    with writing(engine) as connection:
        connection.execute(update(usage_days).where(usage_days.c.tenant == "zed").values(cost=6))
    assert differences(engine) == ["usage_days of zed on 2026-11-18 is not the sum of the ledger's rows"]
    with writing(engine) as connection:
        connection.execute(ledger.delete().where(ledger.c.entry == one["entry"]))
    assert len(differences(engine)) == 3
