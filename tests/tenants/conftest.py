"""Keyrings on one database, with clocks that a test turns."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from llmapi.tenants.keys import Keyring
from llmapi.tenants.tenants import Tenants
from tests.servers.databases import Database

PEPPER = b"a pepper that nobody else has"


class Time:
    """Both clocks: `time.now` for what is stored, `time.clock` for spans; `pass_` moves both."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def clock(self) -> float:
        return self.seconds

    def pass_(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def open_ring(database: Database, time: Time) -> Callable[[], Keyring]:
    """A maker of keyrings as each worker has one: with an engine of its own."""
    return lambda: Keyring(database.open(), PEPPER, now=time.now, clock=time.clock)


@pytest.fixture
def engine(database: Database) -> Engine:
    return database.open()


@pytest.fixture
def ring(engine: Engine, time: Time) -> Keyring:
    return Keyring(engine, PEPPER, now=time.now, clock=time.clock)


@pytest.fixture
def tenants(database: Database, time: Time, ring: Keyring) -> Tenants:
    made = Tenants(database.open(), now=time.now, changed=ring.changed)
    made.create("acme")
    return made
