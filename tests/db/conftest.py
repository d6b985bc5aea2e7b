from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from llmapi.db.engine import open_engine
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
