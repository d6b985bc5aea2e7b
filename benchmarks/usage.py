"""A month of a million calls in the ledger of a SQLite database: how long questions of use take."""

import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, insert

from llmapi.core.calls import Target
from llmapi.costs import rollups
from llmapi.costs.budgets import Budgets
from llmapi.costs.prices import GenaiPrices
from llmapi.costs.recommendations import Recommendations
from llmapi.costs.usage import Question, Usage
from llmapi.db.engine import open_engine, writing
from llmapi.db.schema import upgrade
from llmapi.db.tables.ledger import ledger

Row = tuple[str, str, str]

CALLS = int(os.environ.get("BENCH_CALLS", "1000000"))
AT_ONCE = 20_000
MONTH, LONG = datetime(2026, 10, 1, tzinfo=UTC), timedelta(days=31)
TENANT = "acme"
KEYS, USERS, MODELS, TASKS = 20, 200, 5, ("text", "chat", "classify")
CACHES = ("miss", "miss", "miss", "hit", "coalesced")
ROUNDS = 7


def calls(count: int) -> Iterator[dict[str, Any]]:
    """Yield ledger rows evenly over the month; any user with any key, the worst case for the sums."""
    chance = random.Random(7)
    for number in range(count):
        key, cache = chance.randrange(KEYS), chance.choice(CACHES)
        kept = cache != "miss"
        given, said = chance.randrange(50, 4000), chance.randrange(1, 800)
        cost = given * 300 + said * 2500
        yield {
            "at": MONTH + LONG * (number / count),
            "entry": f"entry_{number:026d}",
            "call_id": f"req_{number:026d}",
            "tenant": TENANT,
            "project": f"project-{key % 4}",
            "key": f"key{key:05d}",
            "user": f"user-{chance.randrange(USERS)}",
            "task": chance.choice(TASKS),
            "provider": "gemini",
            "model": f"gemini-model-{chance.randrange(MODELS)}",
            "asked_model": "default",
            "status": "ok" if number % 50 else "provider_timeout",
            "cache": cache,
            "experiment": "",
            "batch": False,
            "question": f"{chance.randrange(10**12):064d}",
            "input_tokens": given,
            "output_tokens": said,
            "cached_tokens": 0,
            "reasoning_tokens": 0,
            "max_tokens": 1024,
            "pricing": "free" if kept else "priced",
            "cost": 0 if kept else cost,
            "saved": cost if kept else 0,
            "price": '{"input":"0.3","output":"2.5"}',
            "duration": chance.random() * 4,
        }


def fill(engine: Engine, count: int) -> float:
    """Write the calls with their sums, many in a transaction; returns the microseconds one took of it."""
    begun, rows = time.perf_counter(), []
    for row in calls(count):
        rows.append(row)
        if len(rows) == AT_ONCE:
            put(engine, rows)
            rows = []
    put(engine, rows)
    return (time.perf_counter() - begun) / count * 1e6


def put(engine: Engine, rows: list[dict[str, Any]]) -> None:
    if rows:
        with writing(engine) as connection:
            connection.execute(insert(ledger), rows)
            rollups.add(connection, rows)


def asked(**more: Any) -> Question:
    return Question(TENANT, more.pop("start", MONTH), more.pop("end", MONTH + LONG), **more)


def questions() -> dict[str, Question]:
    """Return what is asked, by what the table calls it."""
    odd = {"start": MONTH + timedelta(hours=7.3), "end": MONTH + LONG - timedelta(hours=5.2)}
    one = {"where": {"user": "user-7"}}
    return {
        "in all": asked(),
        "by day": asked(interval="day"),
        "by hour": asked(interval="hour", limit=1000),
        "by model and day": asked(interval="day", by=("model",)),
        "by key": asked(by=("key",)),
        "by user": asked(by=("user",), limit=1000),
        "by user, not from midnight to midnight": asked(by=("user",), limit=1000, **odd),
        "one user by day": asked(interval="day", **one),
        "by user and model (no sums are kept)": asked(by=("user", "model"), limit=1000),
    }


def answers(usage: Usage, what: dict[str, Question]) -> Iterator[Row]:
    for name, question in what.items():
        took = []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            answer = usage.ask(question)
            took.append(time.perf_counter() - begun)
        wanted = "" if "no sums" in name else "< 200 ms"
        figure = f"{statistics.median(took) * 1e3:.0f} ms, worst {max(took) * 1e3:.0f} ms, {len(answer.lines)} rows"
        yield f"a month of {CALLS} calls {name}", figure, wanted


def advice(engine: Engine) -> Row:
    """Look for what could be cheaper in a week of these calls."""
    model = Target("gemini", "gemini-2.5-flash-lite", frozenset({"chat"}))
    looking = Recommendations(engine, GenaiPrices(), Budgets(engine), lambda: [model], now=lambda: MONTH + LONG)
    begun = time.perf_counter()
    found = looking.of(TENANT, 7).found
    return "recommendations for a week of them", f"{time.perf_counter() - begun:.1f} s, {len(found)} found", ""


def usage() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine("", folder=Path(folder))
        upgrade(engine)
        each = fill(engine, CALLS)
        rows = [*answers(Usage(engine), questions()), advice(engine)]
        engine.dispose()
    return [("a ledger row with its sums, 20,000 a transaction", f"{each:.0f} us", ""), *rows]


if __name__ == "__main__":
    for row in usage():
        print(*row, sep=" | ")
