"""What a kept answer costs: in memory, and on a server."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from llmapi.cache import open_cache
from llmapi.core.calls import Completion, Usage
from llmapi.core.kept import About
from tests.servers.valkey import Valkey

Row = tuple[str, str, str]
ANSWER = Completion("A sentence of an answer as models write them. " * 20, Usage(50, 200), "stop")


def median(work: Callable[[], object], times: int) -> float:
    """Return the median microseconds of a piece of work."""
    took = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        took.append(time.perf_counter() - begin)
    return statistics.median(took) * 1e6


def cache_tier() -> list[Row]:
    about = About("acme", "text", ("v1",))
    with tempfile.TemporaryDirectory() as folder, Valkey(Path(folder) / "valkey") as server:
        memory = open_cache("memory://", entries=10_000, ttl=60.0)
        shared = open_cache(server.url, entries=1, ttl=60.0)
        for cache in (memory, shared):
            for key in ("acme:a", "acme:b"):
                cache.put(key, ANSWER, provider="p", model="m", about=about)
        keys = iter(["acme:a", "acme:b"] * 2000)  # one entry of memory: each is the other's eviction
        near = median(lambda: memory.get("acme:a"), 5000)
        far = median(lambda: shared.get(next(keys)), 3000)
        kept = median(lambda: shared.put("acme:a", ANSWER, provider="p", model="m", about=about), 2000)
        shared.close()
    return [
        ("exact hit in memory", f"{near:.1f} us", "<= 20 us"),
        ("exact hit on a server", f"{far:.0f} us", "<= 200 us"),
        ("answer kept on a server", f"{kept:.0f} us", ""),
    ]


if __name__ == "__main__":
    print("| what | measured | wanted |\n| --- | --- | --- |")
    for row in cache_tier():
        print("|", " | ".join(row), "|")
