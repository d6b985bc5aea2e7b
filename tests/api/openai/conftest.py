"""The application on a real socket for real clients: `served(**settings)` is its address, `sdk` OpenAI's own client."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx  # noqa: F401  # whole before the warm-up's thread imports it: OpenAI's client trips over half of it
import openai
import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from tests.fakes.upstream import Upstream

MODELS = {"gemini": "gemini-flash-latest", "openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5"}
KEYS = {
    "google_api_key": SecretStr("AIzaSyFakeFakeFakeFakeFakeFakeFakeFake"),
    "openai_api_key": SecretStr("sk-fake-fake-fake-fake"),
    "anthropic_api_key": SecretStr("sk-ant-fake-fake-fake"),
}


class Quiet(WSGIRequestHandler):
    """Serves at once and writes no lines."""

    disable_nagle_algorithm = True

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""


class Hasty(openai.OpenAI):
    """OpenAI's client, which notes what it would have slept between its tries instead of sleeping."""

    def _sleep_for_retry(self, *, retries_taken: int, max_retries: int, options: Any, response: Any) -> None:
        naps = self.__dict__.setdefault("naps", [])
        naps.append(self._calculate_retry_timeout(max_retries - retries_taken, options, response and response.headers))


@pytest.fixture
def upstreams(gemini: Any, openai_upstream: Any, anthropic_upstream: Any) -> dict[str, Upstream]:
    """The three vendors' fakes, by name."""
    return {"gemini": gemini, "openai": openai_upstream, "anthropic": anthropic_upstream}


@pytest.fixture
def served(make: Callable[..., FlaskClient], upstreams: dict[str, Any]) -> Iterator[Callable[..., str]]:
    """A maker of addresses: served(auth="required", …) is an application with these settings on a socket."""
    running: list[BaseWSGIServer] = []

    def serve(**settings: Any) -> str:
        bases = {"openai_base_url": upstreams["openai"].base, "anthropic_base_url": upstreams["anthropic"].url}
        app = make(**{**KEYS, **bases, "retry_attempts": 1, "breaker_calls": 1000, **settings}).application
        server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def connect(served: Callable[..., str]) -> Iterator[Callable[..., Hasty]]:
    """A maker of clients: connect(max_retries=2, api_key="…", limits=…)."""
    opened: list[Hasty] = []

    def open_client(*, max_retries: int = 0, api_key: str = "sk-any", **settings: Any) -> Hasty:
        opened.append(Hasty(base_url=served(**settings) + "/v1", api_key=api_key, max_retries=max_retries))
        return opened[-1]

    yield open_client
    for client in opened:
        client.close()


@pytest.fixture
def sdk(connect: Callable[..., Hasty]) -> Hasty:
    """OpenAI's client at an application with usual settings; it does not try again."""
    return connect()


@pytest.fixture(params=sorted(MODELS))
def vendor(request: pytest.FixtureRequest) -> str:
    """Each vendor in turn."""
    return str(request.param)


@pytest.fixture
def model(vendor: str) -> str:
    """A model of the vendor."""
    return MODELS[vendor]


@pytest.fixture
def upstream(vendor: str, upstreams: dict[str, Upstream]) -> Upstream:
    """The vendor's fake."""
    return upstreams[vendor]
