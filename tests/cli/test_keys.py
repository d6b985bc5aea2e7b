import json
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from llmapi.app import create_app
from llmapi.bootstrap import build
from llmapi.services import Services
from llmapi.settings import Settings
from llmapi.tenants.provider_keys import ProviderKeys
from llmapi.tenants.sealing import Seal
from llmapi.tenants.signing import SigningSecrets
from tests.cli.conftest import Run
from tests.servers.databases import Database

HERE = "127.0.0.1"


def test_a_key_is_printed_alone_and_is_good(services: Services, flask: Run) -> None:
    flask("tenants", "create", "acme")
    words = ["--tenant", "acme", "--role", "viewer", "--scope", "jobs:read", "--address", "127.0.0.0/8", "--days", "1"]
    said = flask("keys", "create", *words, "--may-name-user", "--name", "ci")
    key = said.stdout.strip()
    found = services.keyring.identify(key, HERE)
    assert found is not None and (found.identity.tenant, found.identity.scopes) == ("acme", {"jobs:read"})
    assert found.may_name_user and not found.requires_signature
    assert key not in said.stderr
    row = services.keyring.get("acme", found.id)
    assert row.expires is not None and (row.expires - row.created).total_seconds() > 86_000


def test_keys_of_all_tenants_are_listed_without_secrets(services: Services, flask: Run) -> None:
    flask("tenants", "create", "acme")
    made = [flask("keys", "create", "--tenant", tenant).stdout.strip() for tenant in ("acme", "default")]
    said = flask("keys", "list")
    assert [line.split()[1] for line in said.stdout.splitlines()[1:]] == ["acme", "default"]
    rows = [json.loads(line) for line in flask("keys", "list", "--tenant", "acme", "--json").stdout.splitlines()]
    assert [row["tenant"] for row in rows] == ["acme"]
    assert not any(key.split("_")[2] in said.stdout for key in made)


def test_a_rotated_key_is_printed_and_the_old_one_ends(services: Services, flask: Run) -> None:
    old = flask("keys", "create").stdout.strip()
    new = flask("keys", "rotate", old.split("_")[1], "--overlap", "0").stdout.strip()
    assert [services.keyring.identify(key, HERE) is not None for key in (old, new)] == [False, True]


def test_keys_are_revoked_by_id(services: Services, flask: Run) -> None:
    made = [flask("keys", "create").stdout.strip() for _ in range(2)]
    assert flask("keys", "revoke", *(key.split("_")[1] for key in made)).exit_code == 0
    assert [services.keyring.identify(key, HERE) for key in made] == [None, None]


def test_a_suspended_tenant_is_locked_out_until_it_is_resumed(services: Services, flask: Run) -> None:
    flask("tenants", "create", "acme", "--name", "Acme")
    key = flask("keys", "create", "--tenant", "acme").stdout.strip()
    good = []
    for act in ("suspend", "resume"):
        assert flask("tenants", act, "acme").exit_code == 0
        good.append(services.keyring.identify(key, HERE) is not None)
    assert good == [False, True]
    rows = [json.loads(line) for line in flask("tenants", "list", "--json").stdout.splitlines()]
    assert [(row["id"], row["name"], row["state"]) for row in rows][0] == ("acme", "Acme", "active")
    assert "Default" in flask("tenants", "list").stdout


def test_all_that_is_sealed_is_sealed_with_the_newest_key(database: Database, tmp_path: Path) -> None:
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    before = SigningSecrets(database.open(), Seal([old])).issue("acme", "01kkey")
    ProviderKeys(database.open(), Seal([old]), providers=["openai"]).put("acme", "openai", "sk-acmes-own-key")
    keys = (SecretStr(new), SecretStr(old))
    made = build(Settings(data_dir=tmp_path, database_url=database.url, local=False, secret_key=keys))
    said = create_app(made).test_cli_runner().invoke(args=["keys", "seal-anew"])
    assert said.stdout.splitlines()[-1] == "1 provider keys and 1 signing secrets sealed"
    assert SigningSecrets(database.open(), Seal([new])).secret_of("01kkey") == before.encode()
    kept = ProviderKeys(database.open(), Seal([new]), providers=["openai"]).get("acme", "openai")
    assert kept is not None and kept.get_secret_value() == "sk-acmes-own-key"


NO_LIFE = [("keys", "create", "--days", days) for days in ("1e9", "3660.1", "0", "-1", "inf", "nan", "1e400")]
NO_OVERLAP = [("keys", "rotate", "01kkey", "--overlap", span) for span in ("1e9", "2592001", "-1", "inf", "nan")]


@pytest.mark.parametrize("words", [*NO_LIFE, *NO_OVERLAP])
def test_a_span_beyond_all_bounds_is_not_understood(flask: Run, words: tuple[str, ...]) -> None:
    said = flask(*words)
    assert (said.exit_code, "Error: Invalid value for" in said.stderr, said.stdout) == (2, True, "")


def test_a_key_may_live_for_ten_years(flask: Run) -> None:
    assert flask("keys", "create", "--days", "3660").exit_code == 0


def test_what_cannot_be_done_is_a_sentence(flask: Run) -> None:
    tries = [("keys", "revoke", "unknown"), ("keys", "create", "--tenant", "nobody"), ("tenants", "create", "A B")]
    tries += [("keys", "create", "--scope", "tenants:fly"), ("keys", "create", "--plan", "none")]
    for words in tries:
        said = flask(*words)
        assert (said.exit_code, said.stderr.startswith("Error: "), said.stdout) == (1, True, ""), words
    assert "There are no such keys" in flask("keys", "list").stderr
