"""The whole service as an operator starts it: gunicorn with our configuration, on a free port, in an empty folder."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import urllib3

from tests.servers.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0  # seconds until a started service must be ready


def until(check: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Return what `check` finds in another process, looked for until it is there; fails after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := check():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


class Service:
    """A running service; use as a context manager."""

    def __init__(self, folder: Path, settings: Mapping[str, str], wait: bool = True) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "service.log"
        given = {"LLMAPI_PORT": str(self.port), "LLMAPI_DATA_DIR": str(folder / "data"), **settings}
        clean = {k: v for k, v in os.environ.items() if not k.startswith("LLMAPI_") and not k.endswith("_API_KEY")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py"],
                cwd=ROOT,
                env={**clean, **given},
                stdout=log,
                stderr=log,
            )
        self.http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(60), maxsize=64)
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> float:
        """Return the seconds until /readyz said 200."""
        begin = time.monotonic()
        while time.monotonic() - begin < PATIENCE:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if self.http.request("GET", f"{self.url}/readyz").status == 200:
                    return time.monotonic() - begin
            except urllib3.exceptions.HTTPError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"not ready after {PATIENCE} s:\n{self.log.read_text()}")

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> urllib3.BaseHTTPResponse:
        """Return the response to one request; `body` is sent as JSON, header names use _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is None:
            return self.http.request(method, self.url + path, headers=named)
        named["Content-Type"] = "application/json"
        return self.http.request(method, self.url + path, body=json.dumps(body).encode(), headers=named)

    def workers(self) -> list[int]:
        """Return the process ids of the gunicorn workers."""
        listing = ["ps", "-o", "pid=,args=", "--ppid", str(self.process.pid)]
        found = subprocess.run(listing, capture_output=True, text=True)
        return [int(row.split()[0]) for row in found.stdout.splitlines() if "gunicorn" in row]

    def stop(self, number: int = signal.SIGTERM, seconds: float = 40.0) -> int:
        """Stop it and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        finally:
            self.process.kill()
            self.http.clear()

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
