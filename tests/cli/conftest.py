"""The commands on real services, of which nothing runs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import Result

from llmapi.app import create_app
from llmapi.bootstrap import build
from llmapi.services import Services
from llmapi.settings import Settings
from tests.servers.databases import Database

Run = Callable[..., Result]


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Iterator[Services]:
    """Services on a database with all tables, once on each engine."""
    made = build(Settings(data_dir=tmp_path, database_url=database.url, local=False))
    yield made
    made.engine.dispose()


@pytest.fixture
def flask(services: Services) -> Run:
    """flask("jobs", "list") is `flask --app wsgi jobs list`."""
    runner = create_app(services).test_cli_runner()

    def run(*words: str, **more: Any) -> Result:
        with structlog.testing.capture_logs():  # they go where the server's logs go, not among what is printed
            return runner.invoke(args=list(words), **more)

    return run
