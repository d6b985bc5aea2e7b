"""One application for all tests of a file that only ask its ledger."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from llmapi.app import create_app
from llmapi.bootstrap import build
from llmapi.settings import Settings
from tests.costs.booked import Row, book
from tests.servers.databases import Templates


@contextmanager
def application(templates: Templates, folder: Path, rows: Sequence[Row], **settings: Any) -> Iterator[FlaskClient]:
    """Return a client of an application in whose ledger these rows are; nothing of it runs."""
    templates.sqlite(folder)
    services = build(Settings(data_dir=folder, local=False, **settings))
    book(services.engine, rows)
    yield create_app(services).test_client()
    services.close()
