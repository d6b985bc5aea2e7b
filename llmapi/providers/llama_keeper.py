"""Keeps one model server running for all processes that share a folder: one of them owns it, the others wait."""

import fcntl
import json
import logging
import os
import secrets
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from llmapi.core.clock import Monotonic, monotonic

TAKEOVER = 0.25  # seconds between looks whether the owner is still there
LONGEST_PAUSE = 15.0  # seconds between starts of a server that keeps dying
SERVER = Path(__file__).with_name("llama_server.py")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Orders:
    """What the server is to run."""

    model: str  # path of a GGUF file
    name: str
    slots: int  # answers generated at the same time
    threads: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A running server: where it listens, the key it asks for, and its process."""

    base_url: str
    api_key: str
    pid: int


def read_endpoint(folder: Path) -> Endpoint | None:
    """Return the server that runs for this folder, None when there is none (yet, or any more)."""
    try:
        if not _owned(folder):
            return None  # what an owner that was killed left behind is not believed
        return Endpoint(**json.loads((folder / "server.json").read_text()))
    except FileNotFoundError:
        return None


def _owned(folder: Path) -> bool:
    """Say whether some process, perhaps this one, owns the server."""
    with open(folder / "owner.lock") as lock_file:
        try:
            fcntl.flock(lock_file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def pause(starts: Sequence[float], now: float) -> float:
    """Return the seconds to wait before another start: none if the last minute saw none, doubling from 0.25."""
    recent = sum(1 for start in starts if now - start < 60.0)
    return min(LONGEST_PAUSE, 0.25 * 2.0 ** (recent - 1)) if recent else 0.0


class Keeper:
    """Waits to become the owner, then starts the server and starts it again whenever it ends.

    The owner holds a lock on a file, which the kernel gives free when the owner's process ends, however it ends; the
    server reads its end from a pipe. So there is never a server without an owner for long, nor two of them.
    """

    def __init__(self, folder: Path, orders: Orders, clock: Monotonic = monotonic) -> None:
        self.problem = ""  # why there is no server, as far as this process knows
        self._folder = folder
        self._orders = orders
        self._clock = clock
        self._starts: deque[float] = deque(maxlen=16)
        self._stopped = threading.Event()
        self._starting = threading.Lock()
        self._lock_file: IO[str] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="llama-keeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the server if it is ours, and return when all is given back."""
        self._stopped.set()
        with self._starting:
            if self._server is not None:
                self._server.kill()  # it keeps nothing
        self._thread.join()

    def disown(self) -> None:
        """Let go in a forked child: lock and pipe must not outlive the owner through copies of their descriptors."""
        if self._lock_file is not None:
            self._lock_file.close()
        if self._server is not None and self._server.stdin is not None:
            self._server.stdin.close()
            self._server.returncode = 0  # another process's child: not ours to wait for

    def _keep(self) -> None:
        """Own the server whenever nobody else does, until stopped."""
        while not self._stopped.is_set():
            try:
                with self._ownership() as mine:
                    while mine and not self._stopped.wait(pause(self._starts, self._clock())):
                        self._run_server()
            except OSError as error:  # a full disk or process table may pass
                self._starts.append(self._clock())
                self.problem = error.strerror or type(error).__name__
                self._stopped.wait(pause(self._starts, self._clock()))
            self._stopped.wait(TAKEOVER)

    @contextmanager
    def _ownership(self) -> Iterator[bool]:
        """Say whether this process is now the owner, and be it inside."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self._folder / "owner.lock", "w", opener=_private) as self._lock_file:
            try:
                fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def _run_server(self) -> None:
        """Run the server once, to its end."""
        published = self._folder / "server.json"
        published.unlink(missing_ok=True)
        self._starts.append(self._clock())
        api_key = secrets.token_urlsafe(24)
        if (server := self._started()) is None:
            return
        try:
            if told := _told(server, asdict(self._orders) | {"api_key": api_key}):
                _publish(published, Endpoint(told["address"] + "/v1", api_key, server.pid))
                self.problem = ""
            status = server.wait()
            published.unlink(missing_ok=True)
        finally:
            self._bury(server)
        if not self._stopped.is_set():
            self.problem = f"the model's server ended with status {status}"
            log.warning("the embedded model's server ended with status %s and is started again", status)

    def _started(self) -> "subprocess.Popen[bytes] | None":
        """Return a new server that waits for its orders; None when stopped in the meantime."""
        command = [sys.executable, "-P", str(SERVER)]  # -P: our openai.py must not hide a package of that name
        pipe = subprocess.PIPE
        with open(self._folder / "server.log", "w", opener=_private) as complaints, self._starting:
            if not self._stopped.is_set():
                self._server = subprocess.Popen(
                    command, bufsize=0, stdin=pipe, stdout=pipe, stderr=complaints, start_new_session=True
                )
            return self._server

    def _bury(self, server: "subprocess.Popen[bytes]") -> None:
        """Make sure that a server is gone and its pipes are closed."""
        with self._starting:
            self._server = None
        server.kill()
        server.wait()
        for pipe in (server.stdin, server.stdout):
            if pipe is not None:
                pipe.close()


def _told(server: "subprocess.Popen[bytes]", orders: Mapping[str, Any]) -> dict[str, str] | None:
    """Give a server its orders and return what it tells once it is ready; None if it ended before."""
    assert server.stdin is not None and server.stdout is not None
    try:
        server.stdin.write(json.dumps(orders).encode() + b"\n")
    except BrokenPipeError:
        return None
    line = server.stdout.readline()
    told: dict[str, str] | None = json.loads(line) if line else None
    return told


def _publish(file: Path, endpoint: Endpoint) -> None:
    """Write where the server is, so that a reader sees all of it or nothing."""
    draft = file.with_suffix(".new")
    with open(draft, "w", opener=_private) as writing:
        json.dump(asdict(endpoint), writing)
    draft.replace(file)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
