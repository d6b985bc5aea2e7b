"""The application on real parts: a fake Gemini on a socket, files in an empty folder, and naps instead of sleep."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr

from llmapi.app import create_app
from llmapi.bootstrap import build
from llmapi.core.lifetime import Lifetime
from llmapi.services import Services
from llmapi.settings import Settings
from tests.fakes.gemini import FakeGemini
from tests.servers.databases import Templates


@pytest.fixture
def naps() -> list[float]:
    """The seconds the retry would have slept."""
    return []


@pytest.fixture
def make(
    tmp_path: Path, gemini: FakeGemini, naps: list[float], templates: Templates
) -> Iterator[Callable[..., FlaskClient]]:
    """A maker of clients: make(cache_ttl=5) is the application with that setting, started."""
    opened: list[Services] = []

    def note(seconds: float, _: Lifetime) -> None:
        naps.append(seconds)

    def open_client(**settings: Any) -> FlaskClient:
        folder = settings.get("data_dir", tmp_path / f"data{len(opened)}")
        usual = {
            "data_dir": folder if folder.exists() else templates.sqlite(folder).folder,  # all tables are there
            "google_api_key": SecretStr("AIzaSyFakeFakeFakeFakeFakeFakeFakeFake"),
            "gemini_base_url": gemini.url,
            "local": False,
            "votes": 3,
            "job_workers": 2,
        }
        services = build(Settings(**{**usual, **settings}), sleep=note)
        opened.append(services)
        app = create_app(services)
        services.start()
        return app.test_client()

    yield open_client
    for services in opened:
        services.drain()
        services.close()


@pytest.fixture
def client(make: Callable[..., FlaskClient]) -> FlaskClient:
    """The application with usual settings."""
    return make()
