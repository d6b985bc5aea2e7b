from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, func, select

from llmapi.core.identity import EVERYTHING, Identity, Payer
from llmapi.db.engine import reading
from llmapi.db.schema import upgrade
from llmapi.db.tables.streams import tickets
from llmapi.db.tickets import Tickets

WHO = Identity("acme", "key-1", Payer(key="1", user="ann"), role="viewer")


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
    ticket = counter.issue(WHO)
    assert counter.redeem(ticket) == Identity("acme", "key-1", Payer(key="1", user="ann"), frozenset())
    assert counter.redeem(ticket) is None
    assert counter.redeem("never issued") is None


def test_a_ticket_of_nobody_with_a_key_may_everything_as_its_holder(counter: Tickets) -> None:
    found = counter.redeem(counter.issue(Identity("default", "127.0.0.1")))
    assert found is not None and (found.name, found.scopes, found.payer) == ("127.0.0.1", EVERYTHING, Payer())


def test_a_ticket_is_good_for_half_a_minute(counter: Tickets, wall: Wall) -> None:
    early, late = counter.issue(WHO), counter.issue(WHO)
    wall.now += timedelta(seconds=29)
    assert counter.redeem(early) is not None
    wall.now += timedelta(seconds=1)
    assert counter.redeem(late) is None


def test_the_table_holds_hashes_and_forgets_what_was_not_used(counter: Tickets, wall: Wall, engine: Engine) -> None:
    ticket = counter.issue(WHO)
    with reading(engine) as connection:
        row = connection.execute(select(tickets)).one()
    assert ticket not in str(row)
    wall.now += timedelta(minutes=1)
    counter.issue(WHO)
    with reading(engine) as connection:
        assert connection.scalar(select(func.count()).select_from(tickets)) == 1
