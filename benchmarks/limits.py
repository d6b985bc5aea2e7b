"""What it costs to count a request: `python -m benchmarks.limits [redis://… postgresql://…]`.

In microseconds of CPU and in all, at one level and at four, with windows full of hits.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import cast

from limits.storage import storage_from_string

from llmapi.api.limit_levels import Levels
from llmapi.api.limits import Standing, headers, looseness
from llmapi.core.identity import Identity, Payer
from llmapi.db.counting import counters_at
from llmapi.db.process_counters import ProcessCounters
from llmapi.db.sliding import Charge, Sliding

LIMITS = (64, 1_000_000)  # kept hit by hit; kept in 64 parts
HITS = 3000


def cost(counters: Sliding, levels: int, limit: int) -> str:
    """Return what a hit costs."""
    charges = [Charge(f"{limit}/{levels}/{level}", limit, 3600.0) for level in range(levels)]
    for _ in range(64):
        counters.take(charges)
    begin, busy = time.perf_counter(), time.process_time()
    for _ in range(HITS):
        counters.take(charges)
    return f"{(time.process_time() - busy) / HITS * 1e6:6.1f} / {(time.perf_counter() - begin) / HITS * 1e6:6.1f} us"


def around() -> str:
    """Return what is done for a request beside counting it: which limits it is under, the headers."""
    who = Identity("default", "key-1234567890ab", Payer(key="key-1234567890ab", user="ann"))
    counters = ProcessCounters()
    spent = []
    for more in ({}, {"key": "600/minute", "user": "600/minute", "tenant": "6000/minute"}):
        levels = Levels({"text": "120/minute"}, more)
        rules, charges = levels.over("text", who)
        rooms = counters.take(charges).rooms
        begin = time.process_time()
        for _ in range(20_000):
            rules, charges = levels.over("text", who)
            headers(sorted(map(Standing, rules, rooms), key=looseness))
        spent.append(f"{(time.process_time() - begin) / 20_000 * 1e6:6.1f} us")
    return "  ".join(spent)


def main() -> None:
    """Print a line for each place hits are counted at."""
    with tempfile.TemporaryDirectory() as folder:
        for url in ("memory://", "", *sys.argv[1:]):
            counters = cast(Sliding, storage_from_string(counters_at(url, folder=Path(folder))))
            for limit in LIMITS:
                told = "  ".join(f"{levels} level: {cost(counters, levels, limit)}" for levels in (1, 4))
                print(f"{url.partition('://')[0] or 'file':12} N={limit:<8} {told}")
            counters.close()
    print(f"levels and headers, 1 and 4 levels: {around()}")


if __name__ == "__main__":
    main()
