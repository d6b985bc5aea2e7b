"""db, prices, and the commands as an operator calls them: in a process of their own."""

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from llmapi.cli.db_commands import secrets_of
from llmapi.db.engine import FILE, writing
from llmapi.db.tables import HEAD
from llmapi.services import Services
from llmapi.settings import Settings
from tests.cli.conftest import Run
from tests.journeys.service import ROOT

ON_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


def test_a_good_database_is_said_to_be_good(flask: Run) -> None:
    said = flask("db", "check")
    assert (said.exit_code, HEAD in said.stdout) == (0, True)


def test_a_database_of_another_program_is_told(services: Services, flask: Run) -> None:
    with writing(services.engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for command in ("check", "upgrade"):
        said = flask("db", command)
        assert (said.exit_code, "9999" in said.stderr) == (1, True)


@ON_SQLITE
def test_a_damaged_file_is_told(services: Services, flask: Run) -> None:
    with writing(services.engine) as connection:
        connection.execute(text("CREATE TABLE parents(id INTEGER PRIMARY KEY)"))
        connection.execute(text("CREATE TABLE children(parent INTEGER REFERENCES parents)"))
    with closing(sqlite3.connect(services.engine.url.database or "")) as careless:
        careless.execute("INSERT INTO children VALUES (7)")
        careless.commit()
    said = flask("db", "check")
    assert (said.exit_code, "children" in said.stderr) == (1, True)


@ON_SQLITE
def test_a_backup_beside_a_writer_has_what_was_committed(services: Services, flask: Run, tmp_path: Path) -> None:
    services.jobs.put("task", {}, tenant="a")
    copy = tmp_path / "copy.sqlite3"
    with writing(services.engine) as connection:
        connection.execute(text("UPDATE jobs SET tenant = 'unseen'"))
        assert flask("db", "backup", str(copy)).exit_code == 0
    with closing(sqlite3.connect(copy)) as opened:
        assert opened.execute("SELECT tenant FROM jobs").fetchall() == [("a",)]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


@ON_SQLITE
def test_a_backup_names_the_secrets_it_is_good_for_nothing_without(flask: Run, tmp_path: Path) -> None:
    told = flask("db", "backup", str(tmp_path / "copy")).stdout.splitlines()[-1]
    named = [Path(each) for each in told.partition(": ")[2].split(", ")]
    assert named == [tmp_path / "key_pepper", tmp_path / "audit_key"]
    assert all(file.is_file() for file in named)


def test_secrets_that_were_set_are_named_by_their_settings() -> None:
    pepper, sealing = SecretStr("0123456789abcdef"), (SecretStr("x" * 43 + "="),)
    found = secrets_of(Settings(data_dir=Path("kept"), key_pepper=pepper, secret_key=sealing))
    assert found == ["LLMAPI_KEY_PEPPER", "kept/audit_key", "LLMAPI_SECRET_KEY"]


@ON_SQLITE
@pytest.mark.parametrize("where", [FILE, "nowhere/copy"])
def test_a_backup_never_replaces_a_file_and_leaves_no_half_one(flask: Run, tmp_path: Path, where: str) -> None:
    before = (tmp_path / FILE).stat().st_ino
    said = flask("db", "backup", str(tmp_path / where))
    assert (said.exit_code, said.stderr.startswith("Error: ")) == (1, True)
    assert (tmp_path / FILE).stat().st_ino == before
    assert list(tmp_path.rglob("*.part")) == []


@ON_POSTGRESQL
def test_postgresql_is_left_to_its_own_tools(flask: Run, tmp_path: Path) -> None:
    said = flask("db", "backup", str(tmp_path / "copy"))
    assert (said.exit_code, "pg_dump" in said.stderr) == (1, True)


@ON_SQLITE
def test_prices_are_told_for_a_million_tokens(flask: Run) -> None:
    said = flask("prices", "gpt-5-mini").stdout.splitlines()
    assert said[1].split() == ["openai/gpt-5-mini", "0.25", "0.025", "2", "2"]


@ON_SQLITE
@pytest.mark.parametrize("words", [("prices", "no-such-model"), ("prices", "!")])
def test_a_model_nobody_knows_is_a_sentence(flask: Run, words: tuple[str, ...]) -> None:
    said = flask(*words)
    assert (said.exit_code, said.stderr.startswith("Error: ")) == (1, True)


def called(folder: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `flask --app wsgi …` as an operator does."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("LLMAPI_") and not k.endswith("_API_KEY")}
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", *words],
        cwd=ROOT,
        env={**clean, "LLMAPI_DATA_DIR": str(folder), **settings},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_command_starts_nothing_and_writes_to_the_database_of_the_service(tmp_path: Path) -> None:
    said = called(tmp_path, "jobs", "list")
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "There are no such jobs.\n")
    assert (tmp_path / FILE).exists()


@pytest.mark.parametrize(
    "settings, part",
    [
        ({"LLMAPI_PROT": "1"}, "did you mean LLMAPI_PORT"),
        ({"LLMAPI_JOBS_URL": "pigeons://"}, "no job engine is called pigeons://"),
        ({"DATABASE_URL": "postgresql://u:p@127.0.0.1:9/x"}, "not available"),
    ],
)
def test_a_wrong_setting_is_a_sentence_and_no_stack_trace(tmp_path: Path, settings: dict[str, str], part: str) -> None:
    said = called(tmp_path, "jobs", "list", **settings)
    assert (said.returncode, part in said.stderr, "Traceback" in said.stderr) == (1, True, False)


@pytest.mark.parametrize("url", ["memory://"])
def test_a_worker_that_nobody_could_reach_does_not_start(tmp_path: Path, url: str) -> None:
    said = called(tmp_path, "worker", LLMAPI_JOBS_URL=url)
    assert (said.returncode, "redis://" in said.stderr) == (1, True)
