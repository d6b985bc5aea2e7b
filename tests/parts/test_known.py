"""What stops a start: secrets in the database that what is set cannot read."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from llmapi.core.errors import BadSetting
from llmapi.events.bus import EventBus
from llmapi.gateway.retry import nap
from llmapi.parts.base import Base
from llmapi.parts.known import Known, open_known
from llmapi.settings import Settings
from llmapi.tenants.sealing import Seal
from llmapi.tenants.signing import SigningSecrets
from tests.servers.databases import Database

Start = Callable[..., Known]


@pytest.fixture
def start(database: Database, tmp_path: Path) -> Start:
    """Open what a start opens, on one database and in a folder of its own."""

    def begin(folder: str = "data", **more: Any) -> Known:
        return open_known(Base(Settings(**more), tmp_path / folder, database.open(), EventBus([]), nap))

    return begin


def test_signing_secrets_nobody_could_read_stop_the_start(start: Start, database: Database) -> None:
    key = Fernet.generate_key().decode()
    SigningSecrets(database.open(), Seal([key])).issue("acme", "01kkey")
    with pytest.raises(BadSetting, match="signing secrets, so LLMAPI_SECRET_KEY must be set"):
        start()
    start(secret_key=(SecretStr(key),))


def test_a_start_without_the_pepper_of_the_keys_there_are_is_stopped_and_makes_none(
    start: Start, tmp_path: Path
) -> None:
    key = start().keyring.create("default", name="ci", role="viewer")[1]
    for _ in range(2):
        with pytest.raises(BadSetting, match="LLMAPI_KEY_PEPPER"):
            start("elsewhere")
    assert not (tmp_path / "elsewhere").exists()
    pepper = (tmp_path / "data" / "key_pepper").read_text().strip()
    assert start("elsewhere", key_pepper=SecretStr(pepper)).keyring.identify(key, "127.0.0.1") is not None


def test_a_new_pepper_is_made_where_no_key_is_good_any_more(start: Start) -> None:
    ring = start().keyring
    ring.revoke("default", ring.create("default", name="ci", role="viewer")[0].id)
    start("elsewhere")


def test_first_starts_at_once_have_one_pepper_though_one_makes_a_key_meanwhile(start: Start) -> None:
    def first() -> str | None:
        ring = start().keyring
        made = ring.first()
        return made and made[1]

    with ThreadPoolExecutor(4) as pool:
        made = [key for key in pool.map(lambda _: first(), range(8)) if key]
    assert len(made) == 1
    assert start().keyring.identify(made[0], "127.0.0.1") is not None
