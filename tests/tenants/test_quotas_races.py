"""Processes that take at once, and some that are killed: never above the limit, and nearly all of it can be used."""

import multiprocessing
import os
import random
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

from llmapi.core.errors import RateLimited
from llmapi.core.ids import new_id
from llmapi.tenants.quotas import Demand, Hold, Quotas
from llmapi.tenants.windows import Limit
from tests.servers.databases import Database

FORK = multiprocessing.get_context("fork")
N, MOST = 10_000, 200
LIMITS = (Limit("tenant", "tokens", 86_400, N), Limit("key:k", "tokens", 3600, N))
LEASE = 60.0


def held(quotas: Quotas, amount: int) -> Hold:
    return quotas.hold(new_id("e"), "acme", [Demand(limit, amount) for limit in LIMITS], LEASE)


def use_all(database: Database, told: Any, seed: int) -> None:
    """Take until there is surely no room; tell what was used."""
    quotas = Quotas(database.open(connections=2, patience=20), patience=20)
    chance, used, refused = random.Random(seed), 0, 0
    while refused < 3:
        try:
            hold = held(quotas, MOST)
        except RateLimited:
            refused += 1
            continue
        spent = chance.randint(MOST // 2, MOST)
        quotas.settle(hold, {"tokens": spent})
        used += spent
    told.put(used)
    database.close()


def test_eight_processes_use_nearly_all_and_never_more(database: Database) -> None:
    told = FORK.Queue()
    children = [FORK.Process(target=use_all, args=(database, told, seed)) for seed in range(8)]
    for child in children:
        child.start()
    used = [told.get(timeout=60) for _ in children]
    for child in children:
        child.join(10)
    assert 0.95 * N <= sum(used) <= N


def use_and_tell(database: Database, pipe: Any) -> None:
    """Use a hundred at a time, and say so before each settling."""
    quotas = Quotas(database.open(connections=2, patience=20), patience=20)
    while True:
        try:
            hold = held(quotas, 100)
        except RateLimited:
            continue  # until the killer comes
        pipe.send_bytes(b"x")
        quotas.settle(hold, {"tokens": 3})


def test_killed_processes_leave_nothing_held_once_their_leases_end(database: Database) -> None:
    pipes = [FORK.Pipe(duplex=False) for _ in range(3)]
    children = [FORK.Process(target=use_and_tell, args=(database, pipe[1])) for pipe in pipes]
    for child in children:
        child.start()
    for reader, _ in pipes:
        for _ in range(10):
            assert reader.poll(20)
            reader.recv_bytes()
    for child in children:
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join(10)
    settling = [10 + rest(reader) for reader, _ in pipes]
    later = Quotas(database.open(), now=lambda: datetime.now(UTC) + timedelta(seconds=LEASE + 1))
    later.reclaim()
    used = held(later, 1).standings[0].used - 1
    assert 3 * sum(number - 1 for number in settling) <= used <= 3 * sum(settling)  # the last one of each: who knows


def rest(reader: Any) -> int:
    number = 0
    while reader.poll(0):
        reader.recv_bytes()
        number += 1
    return number
