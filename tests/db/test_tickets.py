from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, func, select

from llmapi.db.engine import reading
from llmapi.db.schema import upgrade
from llmapi.db.tables.streams import tickets
from llmapi.db.tickets import Tickets


class Wall:
    now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def counter(engine: Engine, wall: Wall) -> Tickets:
    upgrade(engine)
    return Tickets(engine, now=wall)


def test_a_ticket_is_good_once(counter: Tickets) -> None:
    ticket = counter.issue("acme", "key-1")
    assert counter.redeem(ticket) == ("acme", "key-1")
    assert counter.redeem(ticket) is None
    assert counter.redeem("never issued") is None


def test_a_ticket_is_good_for_half_a_minute(counter: Tickets, wall: Wall) -> None:
    early, late = counter.issue("acme", "key-1"), counter.issue("acme", "key-1")
    wall.now += timedelta(seconds=29)
    assert counter.redeem(early) is not None
    wall.now += timedelta(seconds=1)
    assert counter.redeem(late) is None


def test_the_table_holds_hashes_and_forgets_what_was_not_used(counter: Tickets, wall: Wall, engine: Engine) -> None:
    ticket = counter.issue("acme", "key-1")
    with reading(engine) as connection:
        row = connection.execute(select(tickets)).one()
    assert ticket not in str(row)
    wall.now += timedelta(minutes=1)
    counter.issue("acme", "key-1")
    with reading(engine) as connection:
        assert connection.scalar(select(func.count()).select_from(tickets)) == 1
