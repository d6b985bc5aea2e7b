"""Running services for the journeys: one as `make run` starts it, one with two workers on a fake Gemini."""

from collections.abc import Iterator

import pytest

from tests.fakes.gemini import FakeGemini
from tests.journeys.service import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with no settings but a port and a folder: the embedded model answers."""
    with Service(tmp_path_factory.mktemp("service"), {}) as running:
        yield running


@pytest.fixture
def upstream() -> Iterator[FakeGemini]:
    """A fake Gemini for a service in another process."""
    with FakeGemini() as running:
        yield running  # type: ignore[misc]


def on(upstream: FakeGemini, **settings: str) -> dict[str, str]:
    """Return settings that send every question to a fake Gemini."""
    return {
        "GOOGLE_API_KEY": "AIzaSyFakeFakeFakeFakeFakeFakeFakeFake",
        "LLMAPI_GEMINI_BASE_URL": upstream.url,
        "LLMAPI_LOCAL": "false",
        **settings,
    }
