"""The limiter that asks the counters: what it does to them, and what happens when they fail."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_limiter import Limiter

from llmapi.db.counters import FILE, counters_uri


@pytest.fixture
def client(tmp_path: Path) -> Iterator[FlaskClient]:
    app = Flask(__name__)
    app.add_url_rule("/", view_func=lambda: "ok")
    limiter = Limiter(
        lambda: "tenant",
        app=app,
        default_limits=["3/hour"],
        headers_enabled=True,
        storage_uri=counters_uri(tmp_path),
        in_memory_fallback_enabled=True,
    )
    yield app.test_client()
    limiter.storage.close()  # type: ignore[attr-defined]


def test_the_limit_holds_and_the_headers_count_down(client: FlaskClient) -> None:
    answers = [client.get("/") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]


def test_a_locked_file_neither_hangs_nor_lets_everything_through(client: FlaskClient, tmp_path: Path) -> None:
    client.get("/")
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert [client.get("/").status_code for _ in range(4)] == [200, 200, 200, 429]
