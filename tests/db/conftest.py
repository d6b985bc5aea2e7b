from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from llmapi.db.engine import open_engine
from tests.db.counting import KINDS, Place
from tests.servers.databases import Database


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A SQLite without tables."""
    engine = open_engine("", folder=tmp_path / "data", connections=4, patience=0.2)
    yield engine
    engine.dispose()


@pytest.fixture
def either(empty_database: Database) -> Engine:
    """A database without tables, once on each engine."""
    return empty_database.open(connections=4, patience=0.2)


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Where hits are counted, once of each kind."""
    url = {"memory": "memory://", "file": ""}.get(request.param)
    if request.param == "redis":
        url = request.getfixturevalue("valkey").url
    elif request.param == "postgresql":
        url = request.getfixturevalue("postgres").new()
    place = Place(request.param, str(url or ""), tmp_path / "data")
    yield place
    place.close()
    if request.param == "postgresql":
        request.getfixturevalue("postgres").drop(url)
