"""What stops a start: secrets in the database that what is set cannot read."""

from collections.abc import Callable
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
