from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from llmapi.db.engine import open_engine
from llmapi.db.schema import upgrade
from llmapi.jobs.registry import Registry
from tests.jobs.parts import Clock, Heard


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine("", folder=tmp_path)
    upgrade(engine)
    yield engine
    engine.dispose()


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
