import pytest
from sqlalchemy import Engine

from llmapi.jobs.registry import Registry
from tests.jobs.parts import Clock, Heard
from tests.servers.databases import Database


@pytest.fixture
def engine(database: Database) -> Engine:
    """Every promise of the registry is kept on each database."""
    return database.open()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(engine: Engine, heard: Heard, clock: Clock) -> Registry:
    """A registry whose time stands still until the test moves it."""
    return Registry(engine, heard, now=clock)
