from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from llmapi.db.engine import open_engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine("", folder=tmp_path / "data", connections=4, patience=0.2)
    yield engine
    engine.dispose()
