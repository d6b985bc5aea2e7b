"""Every answer is what the ledger's rows add up to, counted again in plain Python."""

import itertools
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, delete, insert

from llmapi.core.errors import ValidationFailed
from llmapi.costs.usage import Question, Usage
from llmapi.db.engine import writing
from llmapi.db.tables.ledger import ledger
from llmapi.db.tables.usage import kept
from tests.costs.booked import NOON, book, counted, days, grouped, mixed, row
from tests.servers.databases import Database

START, END = NOON - days(4), NOON + days(30)
ROWS = mixed(900, START, END)
BEFORE, AFTER = START - days(1), END + days(1)
RANGES = {
    "everything": (BEFORE, AFTER),
    "whole hours": (datetime(2026, 11, 15, 7, tzinfo=NOON.tzinfo), datetime(2026, 11, 20, 3, tzinfo=NOON.tzinfo)),
    "any two instants": (NOON + timedelta(seconds=1234.567891), NOON + days(3.2)),
    "within an hour": (NOON + timedelta(minutes=3), NOON + timedelta(minutes=47)),
    "over midnight": (NOON + timedelta(hours=11, minutes=30), NOON + timedelta(hours=12, minutes=30)),
}


@pytest.fixture
def usage(database: Database) -> Usage:
    engine = database.open()
    book(engine, ROWS)
    book(engine, mixed(50, START, END, seed=9, tenant="other"))
    return Usage(engine)


def told(usage: Usage, **asked: Any) -> dict[Any, dict[str, Any]]:
    asked = {"start": BEFORE, "end": AFTER, "limit": 10_000, **asked}
    answer = usage.ask(Question("default", **asked))
    found = {(line.start, *line.group.values()): asdict(line.sums) for line in answer.lines}
    assert len(found) == len(answer.lines) and answer.next is None
    return found


def within(start: datetime, end: datetime) -> list[dict[str, Any]]:
    return [each for each in ROWS if start <= each["at"] < end]


@pytest.mark.parametrize("name", RANGES)
def test_every_range_and_group_is_what_its_rows_add_up_to(usage: Usage, name: str) -> None:
    start, end = RANGES[name]
    short = end - start < days(30)
    wanted = [(), ("model",), ("key",), ("user",), ("user", "project"), ("batch", "cache"), ("experiment", "task")]
    for by in wanted + ([("user", "model"), ("key", "user", "task", "provider")] if short else []):
        expected = grouped(within(start, end), lambda each: (start, *(each[name] for name in by)))
        assert told(usage, start=start, end=end, by=by) == expected, by


@pytest.mark.parametrize("interval", ["hour", "day", "month"])
def test_intervals_begin_where_the_clock_says(usage: Usage, interval: Any) -> None:
    start, end = NOON + timedelta(minutes=90.5), NOON + days(20.3)
    cut: Any = {"minute": 0, "second": 0, "microsecond": 0}
    cut |= {"hour": {}, "day": {"hour": 0}, "month": {"hour": 0, "day": 1}}[interval]
    expected = grouped(within(start, end), lambda each: (max(start, each["at"].replace(**cut)), each["model"]))
    assert told(usage, start=start, end=end, interval=interval, by=("model",)) == expected


def test_a_line_ends_where_the_next_interval_or_the_range_does(usage: Usage) -> None:
    lines = usage.ask(Question("default", NOON - days(1), NOON + days(1), "day")).lines
    assert [(line.start.hour, line.end.hour, line.end - line.start) for line in lines] == [
        (12, 0, days(0.5)),
        (0, 0, days(1)),
        (0, 12, days(0.5)),
    ]


@pytest.mark.parametrize(
    "where",
    [{"user": "zoë"}, {"user": ""}, {"model": "large", "batch": True}, {"project": "red", "user": "ann"}],
    ids=str,
)
def test_filters_leave_only_what_they_name(usage: Usage, where: dict[str, Any]) -> None:
    rows = [each for each in ROWS if all(each[name] == value for name, value in where.items())]
    assert told(usage, where=where, by=("project",)) == grouped(rows, lambda each: (BEFORE, each["project"]))


def test_pages_together_are_the_whole_and_each_tells_the_total(usage: Usage) -> None:
    asked: Any = {"start": START, "end": END, "interval": "day", "by": ("model", "batch")}
    whole = usage.ask(Question("default", **asked, limit=10_000))
    pages, after = [], None
    for _ in itertools.count():
        pages.append(usage.ask(Question("default", **asked, limit=17, after=after)))
        if (after := pages[-1].next) is None:
            break
    assert [line for page in pages for line in page.lines] == whole.lines
    assert {len(page.lines) for page in pages[:-1]} == {17}
    assert [asdict(page.total) for page in pages] == [counted(ROWS)] * len(pages)


def test_all_tenants_are_told_apart_for_whoever_may_ask(usage: Usage) -> None:
    lines = usage.ask(Question(None, BEFORE, AFTER, by=("tenant",))).lines
    assert [(line.group["tenant"], line.sums.requests) for line in lines] == [("default", 900), ("other", 50)]


@pytest.mark.parametrize(
    "asked",
    [
        {"interval": "hour", "end": BEFORE + days(32)},
        {"interval": "day", "end": BEFORE + days(401)},
        {"end": BEFORE + days(3700)},
        {"by": ("user", "model"), "end": BEFORE + days(32)},
    ],
    ids=str,
)
def test_what_would_take_long_is_refused(usage: Usage, asked: dict[str, Any]) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        told(usage, **asked)
    assert "from" in refusal.value.fields


class TestAfterTheOldIsDeleted:
    """Of what was deleted, coarser sums still answer; nothing is told from what is half gone."""

    @pytest.fixture
    def usage(self, database: Database) -> Usage:
        engine: Engine = database.open()
        book(engine, ROWS)
        midnight = NOON.replace(hour=0)
        with writing(engine) as connection:
            connection.execute(delete(ledger).where(ledger.c.at < midnight))
            connection.execute(insert(kept).values(name="ledger", since=midnight))
        return Usage(engine)

    def test_hours_and_days_are_told_as_before(self, usage: Usage) -> None:
        midnight, later = BEFORE.replace(hour=0), AFTER.replace(hour=0)
        expected = grouped(within(midnight, later), lambda each: (midnight, each["key"]))
        assert told(usage, start=midnight, end=later, by=("key",)) == expected
        hours = {"start": NOON - days(3), "end": NOON - days(2.5)}
        assert sum(each["requests"] for each in told(usage, **hours).values()) == len(within(*hours.values()))

    @pytest.mark.parametrize(
        "asked", [{"start": NOON - days(2) + timedelta(minutes=1)}, {"by": ("user", "model"), "end": NOON}], ids=str
    )
    def test_finer_questions_are_refused(self, usage: Usage, asked: dict[str, Any]) -> None:
        with pytest.raises(ValidationFailed, match="no longer known"):
            told(usage, **asked)

    def test_younger_rows_answer_finely(self, usage: Usage) -> None:
        asked: Any = {"start": NOON, "end": NOON + days(2), "by": ("user", "model")}
        assert sum(each["requests"] for each in told(usage, **asked).values()) == len(within(NOON, NOON + days(2)))


def test_an_empty_ledger_adds_up_to_nothing(database: Database) -> None:
    answer = Usage(database.open()).ask(Question("default", BEFORE, AFTER))
    assert (answer.lines, asdict(answer.total), answer.next) == ([], counted([]), None)


def test_an_unpriced_call_counts_but_never_as_money(database: Database) -> None:
    engine = database.open()
    book(engine, [row(cost=None, pricing="unpriced"), row(cost=7)])
    total = Usage(engine).ask(Question("default", BEFORE, AFTER)).total
    assert (total.requests, total.unpriced, total.cost) == (2, 1, 7)
