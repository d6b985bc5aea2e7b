"""Plans: kept in the database, read from memory, never older than a moment."""

import pytest
from limits import parse
from sqlalchemy import Engine

from llmapi.core.errors import NotFound, ValidationFailed
from llmapi.tenants.plans import Monthly, Plans
from tests.servers.databases import Database

LIMITS = {
    "requests": {"text": "60/minute", "*": "600/5 minutes"},
    "tokens_per_minute": 10_000,
    "tokens_per_day": 100_000,
    "concurrency": 4,
    "monthly": {"requests": 1000, "tokens": 1_000_000, "usd": "12.5"},
}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def engine(database: Database) -> Engine:
    return database.open()


def test_a_plan_is_read_as_it_was_written(engine):
    known = Plans(engine)
    made = known.create("gold", description="for large ones", limits=LIMITS)
    assert known.get("gold") == known.find("gold") == made
    assert (made.limits(), made.description) == (LIMITS, "for large ones")
    assert (made.rule("text"), made.rule("code")) == ("60/minute", "600/5 minutes")
    assert made.monthly == Monthly(1000, 1_000_000, 12_500_000_000)


def test_what_a_plan_does_not_name_is_free(engine):
    plan = Plans(engine).create("free", limits={})
    assert (plan.rule("text"), plan.concurrency, plan.monthly, plan.limits()) == (None, None, Monthly(), {})


def test_a_change_is_seen_here_at_once_and_in_other_processes_after_a_moment(engine):
    clock = Clock()
    here, there = Plans(engine), Plans(engine, fresh=2.0, clock=clock)
    assert there.get("gold") is None
    here.create("gold", limits={"concurrency": 1})
    assert (here.get("gold").concurrency, there.get("gold")) == (1, None)
    clock.now = 2.0
    assert there.get("gold").concurrency == 1
    here.update("gold", limits={"concurrency": 2})
    assert (here.get("gold").concurrency, there.get("gold").concurrency) == (2, 1)
    clock.now = 4.0
    assert there.get("gold").concurrency == 2
    here.delete("gold")
    assert here.get("gold") is None


def test_limits_change_as_a_whole_and_what_is_not_named_stays(engine):
    known = Plans(engine)
    known.create("gold", description="old", limits=LIMITS)
    assert known.update("gold", limits={"concurrency": 9}).limits() == {"concurrency": 9}
    changed = known.update("gold", description="new")
    assert (changed.description, changed.limits()) == ("new", {"concurrency": 9})


def test_while_the_database_is_away_the_last_plans_stay_in_force(tmp_path, templates):
    clock, database = Clock(), templates.sqlite(tmp_path)
    known = Plans(database.open(connections=1, patience=0.05), clock=clock)
    known.create("gold", limits={"concurrency": 1})
    assert known.get("gold").concurrency == 1
    with known._engine.connect():  # the only connection is taken
        clock.now = 10.0
        assert known.get("gold").concurrency == 1
    database.close()


def test_a_name_is_taken_once_and_what_is_not_there_is_not_found(engine):
    known = Plans(engine)
    known.create("gold", limits={})
    with pytest.raises(ValidationFailed, match="exists"):
        known.create("gold", limits={})
    for ask in (known.find, known.update, known.delete):
        with pytest.raises(NotFound):
            ask("silver")


@pytest.mark.parametrize("rule", ["60/minute", "1/second", "600/5 minutes", "999999999/day"])
def test_a_rule_that_is_taken_is_one_the_limiter_reads(engine, rule):
    assert parse(Plans(engine).create("p", limits={"requests": {"*": rule}}).rule("text"))


@pytest.mark.parametrize("rule", ["0/minute", "60", "60/minute;1/second", "-1/minute", "1/fortnight", "60/minute\n"])
def test_a_rule_that_cannot_be_read_is_refused(engine, rule):
    with pytest.raises(ValidationFailed) as refused:
        Plans(engine).create("p", limits={"requests": {"*": rule}})
    assert list(refused.value.fields) == ["limits.requests.*"]


def test_lists_go_page_by_page_by_name(engine):
    known = Plans(engine)
    for name in "cab":
        known.create(name, limits={})
    first = known.list(limit=2)
    second = known.list(limit=2, after=first.after)
    assert [plan.name for plan in first.plans + second.plans] == ["a", "b", "c"]
    assert second.after is None
