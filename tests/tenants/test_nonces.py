"""Nonces: each taken once, whoever asks, and not kept for longer than needed."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from llmapi.core.errors import Overloaded
from llmapi.db.engine import reading
from llmapi.db.tables.signing import nonces as table
from llmapi.tenants.nonces import APART, EVERY, KEPT, STEP, Nonces

START = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


class Clock:
    now = START

    def __call__(self) -> datetime:
        return self.now


def kept(engine) -> int:
    with reading(engine) as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def test_a_nonce_is_taken_once_by_either_of_two_processes(database):
    one, other = Nonces(database.open()), Nonces(database.open())
    assert one.spend("key", "nonce-one")
    assert not other.spend("key", "nonce-one") and not one.spend("key", "nonce-one")
    assert other.spend("another", "nonce-one")


def test_of_eight_threads_with_one_nonce_exactly_one_wins(database):
    shops = [Nonces(database.open()), Nonces(database.open())]
    for nonce in (f"nonce-{number}" for number in range(10)):
        told: list[bool] = []
        gate = threading.Barrier(8)

        def race(shop: Nonces, nonce: str = nonce) -> None:
            gate.wait(10)
            told.append(shop.spend("key", nonce))

        racers = [threading.Thread(target=race, args=(shops[number % 2],)) for number in range(8)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join(10)
        assert sorted(told) == [False] * 7 + [True]


def test_a_nonce_is_remembered_for_as_long_as_its_signature_could_come_back_and_then_cleared_away(database):
    clock = Clock()
    nonces = Nonces(database.open(), now=clock)
    nonces.spend("key", "nonce-one")
    clock.now = START + KEPT + APART
    assert nonces.purge() == 0 and not nonces.spend("key", "nonce-one")
    clock.now += timedelta(microseconds=1)
    assert nonces.purge() == 1


def test_old_nonces_are_cleared_away_in_passing_and_in_bounded_steps(database):
    clock, engine = Clock(), database.open()
    with engine.begin() as connection:
        rows = [{"key_id": "k", "nonce": f"n{number}", "expires": START} for number in range(2 * STEP)]
        connection.execute(table.insert(), rows)
    clock.now = START + timedelta(hours=1)
    nonces = Nonces(engine, now=clock)
    for number in range(EVERY - 1):
        nonces.spend("key", f"nonce-{number}")
    assert kept(engine) == 2 * STEP + EVERY - 1
    nonces.spend("key", "nonce-last")
    assert kept(engine) == STEP + EVERY


def test_while_the_storage_is_away_nothing_is_let_through(database):
    nonces = Nonces(database.open(patience=0.2))
    with database.held_up("signature_nonces"), pytest.raises(Overloaded):
        nonces.spend("key", "nonce-one")
