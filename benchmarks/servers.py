"""Processes to measure: started, waited for, their CPU seconds read from the kernel, stopped."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.servers.ports import free_port

ROOT = Path(__file__).resolve().parents[1]
GUNICORN = (sys.executable, "-m", "gunicorn")
TICK = os.sysconf("SC_CLK_TCK")
MUCH = "100000000/minute"


def descendants(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        children = Path(f"/proc/{each}/task/{each}/children")
        found += [int(child) for child in children.read_text().split()] if children.exists() else []
    return found


class Server:
    """A running server; `cpu()` is what it and its workers have used so far, in seconds."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process, self.port = process, port

    def cpu(self) -> float:
        total = 0
        for pid in descendants(self.process.pid):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICK

    def memory(self) -> float:
        """Return resident megabytes of all its processes; shared pages count once for each."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in descendants(self.process.pid))
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def running(command: list[str], port: int, settings: Mapping[str, str]) -> Iterator[Server]:
    """Run a command until the block ends; it must listen on `port` within 30 s. What it logs is written to a file."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **settings}, stdout=log, stderr=log)
        try:
            wait_for(port, process)
            yield Server(process, port)
        finally:
            process.terminate()
            process.wait(60)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("a server did not start")


@contextmanager
def upstream() -> Iterator[Server]:
    """Run the fake Gemini."""
    port = free_port()
    with running([sys.executable, "-m", "benchmarks.upstream", str(port)], port, {}) as server:
        yield server


@contextmanager
def service(upstream: Server, workers: int = 1, **more: str) -> Iterator[Server]:
    """Run llmapi with keys, limits, metrics and logs on; `more` are further settings."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "LLMAPI_PORT": str(port),
            "LLMAPI_WORKERS": str(workers),
            "LLMAPI_THREADS": os.environ.get("LLMAPI_THREADS", "1024"),
            "LLMAPI_DATA_DIR": f"{folder}/data",
            "LLMAPI_AUTH": "required",
            "LLMAPI_API_KEYS": "bench-key",
            "LLMAPI_LIMITS_TEXT": MUCH,
            "LLMAPI_LOCAL": "false",
            "LLMAPI_LIMITS_CHAT_COMPLETIONS": MUCH,
            "LLMAPI_LIMITS_WEBSOCKET": MUCH,
            "GOOGLE_API_KEY": "AIzaSyFake",
            "OPENAI_API_KEY": "sk-fake",
            "LLMAPI_OPENAI_BASE_URL": f"http://127.0.0.1:{upstream.port}/v1",
            "LLMAPI_GEMINI_BASE_URL": f"http://127.0.0.1:{upstream.port}",
        }
        with running([*GUNICORN, "-c", "deploy/gunicorn.conf.py"], port, settings | more) as server:
            yield server


@contextmanager
def bare(upstream: Server, workers: int = 1) -> Iterator[Server]:
    """Run the bare Flask application under gunicorn with the same worker settings."""
    port = free_port()
    command = [*GUNICORN, "-k", "gthread", "--preload", "--no-control-socket", "-b", f"127.0.0.1:{port}"]
    command += ["--threads", "1024", "--worker-connections", "3072", "--workers", str(workers), "--backlog", "4096"]
    command += ["--keep-alive", "5", "benchmarks.bare:app"]
    with running(command, port, {"BENCH_UPSTREAM": f"http://127.0.0.1:{upstream.port}"}) as server:
        yield server
