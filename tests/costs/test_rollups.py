"""Sums agree with the ledger at every moment, whoever writes."""

import threading
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import Engine, Table, insert, select

from llmapi.costs import rollups
from llmapi.db.engine import reading, writing
from llmapi.db.tables.ledger import ledger
from llmapi.db.tables.usage import days, hours, users
from tests.costs.booked import NOON, book, counted, grouped, mixed, row
from tests.costs.booked import days as of_days
from tests.servers.databases import Database


@pytest.fixture
def engine(database: Database) -> Engine:
    return database.open()


def sums(engine: Engine, table: Table) -> dict[Any, Mapping[str, Any]]:
    keys = [column.name for column in table.primary_key]
    with reading(engine) as connection:
        found = [each._asdict() for each in connection.execute(select(table))]
    return {tuple(each.pop(name) for name in keys): each for each in found}


@pytest.mark.parametrize("table", [hours, days, users], ids=lambda table: str(table.name))
def test_each_sum_is_what_its_rows_add_up_to(engine: Engine, table: Table) -> None:
    rows = mixed(400, NOON - of_days(1), NOON + of_days(1))
    book(engine, rows)
    names = [column.name for column in table.primary_key][2:]
    hour = 0 if table is not hours else None

    def key(each: dict[str, Any]) -> Any:
        start = each["at"].replace(minute=0, second=0, microsecond=0)
        return (each["tenant"], start if hour is None else start.replace(hour=0), *(each[name] for name in names))

    assert sums(engine, table) == grouped(rows, key)


def test_sums_are_gone_with_the_transaction_that_wrote_them(engine: Engine) -> None:
    def half() -> None:
        with writing(engine) as connection:
            connection.execute(insert(ledger), [row()])
            rollups.add(connection, [row()])
            raise KeyError

    with pytest.raises(KeyError):
        half()
    assert sums(engine, hours) == sums(engine, days) == sums(engine, users) == {}


def test_writers_at_once_lose_nothing_and_do_not_lock_each_other_out(engine: Engine) -> None:
    parts = [mixed(60, NOON, NOON + of_days(2), seed) for seed in range(6)]
    failed: list[BaseException] = []

    def write(rows: list[dict[str, Any]]) -> None:
        try:
            book(engine, rows, at_once=5)
        except BaseException as failure:
            failed.append(failure)

    writers = [threading.Thread(target=write, args=(rows[:: (-1) ** n],)) for n, rows in enumerate(parts)]
    for each in writers:
        each.start()
    for each in writers:
        each.join(30)
    assert failed == []
    found = sums(engine, users).values()
    assert {name: sum(each[name] for each in found) for name in counted([])} == counted(sum(parts, []))


def test_nothing_to_add_adds_nothing(engine: Engine) -> None:
    with writing(engine) as connection:
        rollups.add(connection, [])
    assert sums(engine, hours) == {}
