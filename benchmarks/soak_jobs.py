"""`python -m benchmarks.soak_jobs [JOBS]`: many jobs, with a worker process killed every two seconds.

Every job must end once: none lost, none delivered twice. A killed process costs at most one more run for each of its
threads. The last line printed is the report.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from llmapi.db.engine import open_engine, reading, writing
from llmapi.db.schema import upgrade
from llmapi.jobs.registry import Bounds, Registry
from llmapi.jobs.threads import JobContext, Threads

TENANTS = 10
LEASE = 2.0  # seconds; short, so that the last kill's jobs are not waited for


@dataclass(frozen=True)
class Report:
    """What came of it; `runs` are all beginnings of a job, `delivered` the notices of their ends."""

    jobs: int
    succeeded: int
    delivered: int
    delivered_twice: int
    runs: int
    kills: int
    threads: int
    seconds: float

    @property
    def a_second(self) -> float:
        """Return how many jobs were done in a second."""
        return self.jobs / self.seconds

    @property
    def holds(self) -> bool:
        """Say whether every promise was kept."""
        whole = self.succeeded == self.delivered == self.jobs and not self.delivered_twice
        return whole and self.runs - self.jobs <= self.kills * self.threads


class Nobody:
    """A bus nobody listens to."""

    def tell(self, event: Any) -> None:
        """Forget it."""


class Delivered:
    """An outbox that is a table."""

    def add(self, connection: Connection, tenant: str, kind: str, data: Mapping[str, Any]) -> None:
        """Note the end of a job in its own transaction."""
        connection.execute(text("INSERT INTO delivered VALUES (:id, :kind)"), {"id": data["id"], "kind": kind})


def soak(
    folder: Path,
    *,
    jobs: int,
    workers: int = 3,
    threads: int = 4,
    takes: float = 0.005,
    every: float = 2.0,
    kills: int = 10**9,
    patience: float = 600.0,
) -> Report:
    """Put the jobs, let workers do them, kill one of these now and then, and count.

    takes: seconds of a job, as a provider would; every: seconds between two kills; kills: the most of them
    patience: seconds after which it gives up
    """
    engine = open_engine("", folder=folder)
    upgrade(engine)
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE delivered(id TEXT, kind TEXT)"))
    registry = Registry(engine, Nobody(), bounds=Bounds(jobs, jobs), max_attempts=20)
    for number in range(jobs):
        registry.put("echo", {"number": number}, tenant=f"t{number % TENANTS}", priority=number % 10)
    pool = [started(folder, threads, takes) for _ in range(workers)]
    begun = killed = time.monotonic()
    done = 0
    while open_jobs(registry) and time.monotonic() < begun + patience:
        threading.Event().wait(0.05)
        if time.monotonic() - killed >= every and done < kills:
            victim = random.randrange(workers)
            pool[victim].kill()
            pool[victim].wait()
            pool[victim], killed, done = started(folder, threads, takes), time.monotonic(), done + 1
    seconds = time.monotonic() - begun
    for worker in pool:
        worker.terminate()
    for worker in pool:
        worker.wait(30)
    with reading(engine) as connection:
        succeeded = connection.scalar(text("SELECT count(*) FROM jobs WHERE status = 'succeeded'"))
        counts = connection.execute(text("SELECT count(*) FROM delivered GROUP BY id")).scalars().all()
    engine.dispose()
    runs = sum(len(file.read_bytes().splitlines()) for file in folder.glob("runs-*"))
    twice = sum(count > 1 for count in counts)
    return Report(jobs, succeeded or 0, len(counts), twice, runs, done, threads, round(seconds, 2))


def open_jobs(registry: Registry) -> int:
    """Return how many jobs have not ended."""
    depths = registry.depths()
    return depths.queued + depths.running


def started(folder: Path, threads: int, takes: float) -> subprocess.Popen[bytes]:
    """Return a new worker process."""
    command = [sys.executable, "-m", "benchmarks.soak_jobs", "worker", str(folder), str(threads), str(takes)]
    return subprocess.Popen(command, cwd=Path(__file__).resolve().parents[1])


def work(folder: Path, threads: int, takes: float) -> None:
    """Run jobs until SIGTERM: the whole of a worker process."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    runs = os.open(folder / f"runs-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def echo(context: JobContext) -> Mapping[str, Any]:
        os.write(runs, f"{context.id}\n".encode())
        time.sleep(takes)
        return {"number": context.arguments["number"]}

    registry = Registry(open_engine("", folder=folder), Nobody(), outbox=Delivered())
    pool = Threads(registry, {"echo": echo}, workers=threads, lease=LEASE, poll=0.1)
    pool.start()
    while not stop.wait(0.1):
        pass
    pool.stop(5.0)


def main(arguments: list[str]) -> int:
    """Soak in a folder of its own, or be one of the workers."""
    if arguments[:1] == ["worker"]:
        work(Path(arguments[1]), int(arguments[2]), float(arguments[3]))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        report = soak(Path(folder), jobs=int(arguments[0]) if arguments else 10_000)
    print(f"{report} = {report.a_second:.0f} jobs/s: {'holds' if report.holds else 'BROKEN'}")
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
