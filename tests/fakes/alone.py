"""A fake as a process of its own, for benchmarks and journeys: prints its address, then serves until it is ended."""

import argparse
import signal
import threading

from tests.fakes.behaviours import Answer
from tests.fakes.upstream import Upstream


def serve(fake: type[Upstream]) -> None:
    """Serve the same answer to everybody, as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--text", default="", help="the answer; default: --chunks words")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before an answer begins")
    parser.add_argument("--chunks", type=int, default=5, help="events of a stream")
    parser.add_argument("--gap", type=float, default=0.0, help="seconds between two events")
    given = parser.parse_args()
    parts = tuple(f"word{number} " for number in range(given.chunks))
    text = given.text or "".join(parts)
    answer = Answer(text, pieces=() if given.text else parts, delay=given.delay, gap=given.gap)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    with fake(answer, port=given.port) as upstream:
        print(upstream.url, flush=True)
        over.wait()
