import json
import os
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from llmapi.cli.parts import user
from llmapi.db.engine import writing
from llmapi.db.tables.audit import entries, head
from llmapi.services import Services
from tests.cli.conftest import Run


def test_what_commands_change_is_in_the_chain_by_its_user(services: Services, flask: Run) -> None:
    flask("tenants", "create", "acme")
    key = flask("keys", "create", "--tenant", "acme").stdout.strip()
    id = key.split("_")[1]
    flask("keys", "rotate", id)
    flask("keys", "revoke", id)
    flask("tenants", "suspend", "acme")
    rows = [json.loads(line) for line in flask("audit", "export").stdout.splitlines()]
    acts = ["tenants.create", "keys.create", "keys.rotate", "keys.delete", "tenants.change"]
    assert [row["action"] for row in rows] == acts
    assert {row["actor"].partition(":")[0] for row in rows} == {"cli"}
    assert {row["tenant"] for row in rows} == {"acme"}
    assert key not in str(rows)
    assert flask("audit", "verify").output == "The audit chain is whole: 5 entries, 5 heads.\n"


@pytest.mark.parametrize("unknown", [KeyError, OSError])
def test_who_has_no_name_on_the_machine_is_written_down_by_number(unknown: type[Exception]) -> None:
    def named() -> str:
        raise unknown("uid not found")

    assert user(named) == str(os.getuid())


def test_a_chain_that_was_changed_is_told_entry_by_entry(services: Services, flask: Run) -> None:
    for tenant in ("a", "b", "c"):
        flask("tenants", "create", tenant)
    with writing(services.engine) as connection:
        connection.execute(update(entries).where(entries.c.number == 2).values(actor="somebody"))
    said = flask("audit", "verify")
    assert (said.exit_code, said.stderr.splitlines()[0]) == (1, "entry 2 is not as it was written")


def test_a_chain_cut_short_is_seen_by_a_head_kept_elsewhere(services: Services, flask: Run, tmp_path: Path) -> None:
    for tenant in ("a", "b", "c"):
        flask("tenants", "create", tenant)
    kept = tmp_path / "elsewhere.jsonl"
    kept.write_text(flask("audit", "head").stdout)
    (services.settings.data_dir / "audit_heads.jsonl").unlink()
    with writing(services.engine) as connection:
        connection.execute(delete(entries).where(entries.c.number == 3))
        second = connection.execute(entries.select().where(entries.c.number == 2)).one()
        connection.execute(update(head).values(number=2, hash=second.hash))
    assert flask("audit", "verify").exit_code == 0  # nothing here tells
    said = flask("audit", "verify", "--heads", str(kept))
    assert (said.exit_code, "a head names entry 3, which is not there" in said.stderr) == (1, True)
