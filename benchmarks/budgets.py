"""What budgets and the ledger add to a call, and what kills do to them: python -m benchmarks.budgets [--kills 20]

Rows of a table: CPU microseconds a call of no budget, of the ledger's row alone, of holding and settling; then a budget
under 64 callers in 4 processes, one of which is killed and begun again every half second.
"""

import argparse
import multiprocessing
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.synchronize import Event
from pathlib import Path

from sqlalchemy import Engine, func, select

from llmapi.core.calls import Attempt, Call, Message, Target, Usage
from llmapi.core.errors import BudgetExceeded, Overloaded
from llmapi.core.events import CallFinished
from llmapi.core.ids import new_id
from llmapi.core.lifetime import Lifetime
from llmapi.core.money import NANOS_A_DOLLAR, Cost
from llmapi.costs import rollups
from llmapi.costs.budgets import Budgets
from llmapi.costs.ledger import Ledger
from llmapi.costs.postings import verify
from llmapi.costs.prices import GenaiPrices
from llmapi.db.engine import open_engine, reading
from llmapi.db.schema import upgrade
from llmapi.db.tables.budgets import reservations
from llmapi.db.tables.ledger import ledger

FORK = multiprocessing.get_context("fork")
MODEL = Target("openai", "gpt-4o-mini")
TURNS = 1000
MOST = NANOS_A_DOLLAR // 2000  # a call may cost
LEASE, LIFE = 0.5, 0.5  # seconds


def opened(folder: Path) -> Engine:
    return open_engine("", folder=folder, patience=30.0)


def call(life: float = 60.0) -> Call:
    words = (Message("user", "Say something about the sea. " * 10),)
    return Call("req", "acme", "text", "default", (MODEL,), Lifetime(life), words, entry=new_id("entry"))


def end(entry: str, nanos: int) -> CallFinished:
    attempts = (Attempt(MODEL.provider, MODEL.model, "ok"),)
    return CallFinished(
        "req", "acme", "text", "default", MODEL.provider, MODEL.model, "ok", "miss", Usage(100, 100),
        Cost(nanos, "priced"), attempts, 0.5, 0.4, False, datetime.now(UTC), entry=entry,
    )  # fmt: skip


def cpu(work: Callable[[], object], turns: int) -> float:
    """Return microseconds of CPU a turn."""
    for _ in range(turns // 10):
        work()
    begun = time.process_time()
    for _ in range(turns):
        work()
    return (time.process_time() - begun) / turns * 1e6


def costs(folder: Path) -> None:
    engine = opened(folder)
    budgets, books = Budgets(engine), Ledger(engine, GenaiPrices(), sums=rollups.add)
    one = call()
    say("no budget", cpu(lambda: budgets.applying("acme", one.payer, one.targets), 100 * TURNS))
    say("a row of the ledger, written at once", cpu(lambda: books(end(new_id("entry"), 1000)), TURNS))
    ids = (budgets.create("acme", amount=10**15, window="month").id,)

    def held() -> None:
        hold = books.reserve(replace(one, entry=new_id("entry")), ids, 1000)
        books.send(hold)
        books(end(hold.entry, 900))

    say("held, sent and settled with its row", cpu(held, TURNS))
    engine.dispose()


def say(what: str, figure: float) -> None:
    print(f"| {what} | {figure:.2f} us |", flush=True)


def spend(folder: Path, id: str, number: int, over: Event) -> None:
    """Ask with sixteen callers until it is over: the whole of a process."""
    books = Ledger(opened(folder), GenaiPrices(), sums=rollups.add, lease=LEASE, patience=30.0)
    chance = random.Random(number)

    def caller() -> None:
        while not over.is_set():
            try:
                hold = books.reserve(call(LIFE), (id,), MOST)
                books.send(hold)
            except (BudgetExceeded, Overloaded):
                time.sleep(0.005)
                continue
            time.sleep(chance.random() * 0.05)
            books(end(hold.entry, chance.randint(1, MOST)))

    threads = [threading.Thread(target=caller) for _ in range(16)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()


def kills(folder: Path, count: int) -> None:
    engine = opened(folder)
    budgets, books = Budgets(engine), Ledger(engine, GenaiPrices(), lease=LEASE)
    amount = 2 * NANOS_A_DOLLAR
    id, over = budgets.create("acme", amount=amount, window="month").id, FORK.Event()

    def begin(number: int) -> multiprocessing.process.BaseProcess:
        child = FORK.Process(target=spend, args=(folder, id, number, over))
        child.start()
        return child

    children, polls, beyond, killed = [begin(number) for number in range(4)], 0, 0, 0
    next_kill, until = time.monotonic() + 0.5, time.monotonic() + 10 * count
    while time.monotonic() < until and (killed < count or budgets.status(id, "acme").spent < 0.95 * amount):
        standing, polls = budgets.status(id, "acme"), polls + 1
        beyond += standing.spent + standing.held > amount
        books.recover()
        if killed < count and time.monotonic() > next_kill:
            os.kill(children[killed % 4].pid or 0, signal.SIGKILL)
            children[killed % 4] = begin(100 + killed)
            killed, next_kill = killed + 1, time.monotonic() + 0.5
        time.sleep(0.02)
    over.set()
    for child in children:
        child.join(60)
    time.sleep(LEASE + LIFE + 0.1)
    while books.recover():
        pass
    report(engine, budgets.status(id, "acme").spent / amount, killed, polls, beyond)


def report(engine: Engine, used: float, killed: int, polls: int, beyond: int) -> None:
    with reading(engine) as connection:
        left = connection.execute(select(func.count()).select_from(reservations)).scalar_one()
        rows = connection.execute(select(func.count()).select_from(ledger)).scalar_one()
    faults = verify(engine)
    print(f"| {killed} kills, {rows} calls, {polls} polls | {beyond} times beyond, {used:.1%} used, {left} left held |")
    print(f"| the books prove right | {faults or 'yes'} |")


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--kills", type=int, default=20)
    wanted = reader.parse_args()
    for part in (costs, lambda folder: kills(folder, wanted.kills)):
        with tempfile.TemporaryDirectory() as folder:
            engine = opened(Path(folder) / "data")
            upgrade(engine)
            engine.dispose()
            part(Path(folder) / "data")


if __name__ == "__main__":
    main()
