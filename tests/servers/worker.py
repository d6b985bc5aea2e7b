"""Worker processes as an operator starts them."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FLASK = ("flask", "--app", "wsgi", "worker")
CELERY = ("celery", "-A", "llmapi.worker", "worker", "--without-mingle", "--without-gossip")


class Worker:
    """A worker process; use as a context manager."""

    def __init__(self, folder: Path, settings: Mapping[str, str], command: tuple[str, ...] = FLASK) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("LLMAPI_") and not k.endswith("_API_KEY")}
        self._log = folder / "worker.log"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=ROOT, env={**clean, **settings}, stdout=log, stderr=log
            )

    def is_ready(self) -> bool:
        """Say whether it takes jobs."""
        assert self.process.poll() is None, self.told()
        return "ready for jobs" in self.told()

    def told(self) -> str:
        """Return its log."""
        return self._log.read_text()

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 20.0) -> int:
        """End it softly; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
