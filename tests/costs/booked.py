"""Ledger rows for tests, and what they add up to, counted in plain Python."""

import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, insert

from llmapi.costs import rollups
from llmapi.db.engine import writing
from llmapi.db.tables.ledger import ledger

Row = dict[str, Any]
NOON = datetime(2026, 11, 18, 12, tzinfo=UTC)
NUMBERS = itertools.count()


def row(at: datetime = NOON, **more: Any) -> Row:
    """Return a ledger row: of a good, priced call unless it says otherwise."""
    number = next(NUMBERS)
    usual = {
        "at": at,
        "entry": f"entry_{number}",
        "call_id": f"req_{number}",
        "tenant": "default",
        "project": "",
        "key": "",
        "user": "",
        "task": "text",
        "provider": "gemini",
        "model": "small",
        "asked_model": "default",
        "status": "ok",
        "cache": "miss",
        "experiment": "",
        "batch": False,
        "question": f"{number:064d}",
        "input_tokens": 100,
        "output_tokens": 50,
        "cached_tokens": 0,
        "reasoning_tokens": 0,
        "max_tokens": 256,
        "pricing": "priced",
        "cost": 1000,
        "saved": 0,
        "price": None,
        "duration": 0.5,
    }
    return {**usual, **more}


def mixed(count: int, start: datetime, end: datetime, seed: int = 1, **more: Any) -> list[Row]:
    """Return rows of every kind, evenly over a time."""
    chance = random.Random(seed)
    return [a_row(chance, start + (end - start) * (place / count), **more) for place in range(count)]


def a_row(chance: random.Random, at: datetime, **more: Any) -> Row:
    cache = chance.choice(("miss", "miss", "hit", "coalesced", "bypass"))
    kept, priced = cache in ("hit", "coalesced"), chance.random() < 0.9
    told = {
        "project": chance.choice(("", "red", "blue")),
        "key": chance.choice(("key1", "key2", "key3")),
        "user": chance.choice(("", "ann", "bob", "zoë")),
        "task": chance.choice(("text", "chat")),
        "model": chance.choice(("small", "large")),
        "status": chance.choice(("ok", "ok", "abandoned", "provider_timeout")),
        "cache": cache,
        "experiment": chance.choice(("", "", "trial:b")),
        "batch": chance.random() < 0.2,
        "input_tokens": chance.randrange(5000),
        "output_tokens": chance.randrange(900),
        "cached_tokens": chance.randrange(50),
        "reasoning_tokens": chance.randrange(50),
        "pricing": "free" if kept else "priced" if priced else "unpriced",
        "cost": 0 if kept else chance.randrange(10**7) if priced else None,
        "saved": chance.randrange(10**7) if kept else 0,
        "duration": chance.randrange(8) / 8,  # sums of eighths are exact in any order
    }
    return row(at, **{**told, **more})


def book(engine: Engine, rows: Sequence[Row], at_once: int = 50) -> None:
    """Write rows as the ledger does: with their sums, some in a transaction."""
    for first in range(0, len(rows), at_once):
        some = rows[first : first + at_once]
        with writing(engine) as connection:
            connection.execute(insert(ledger), some)
            rollups.add(connection, some)


def counted(rows: Iterable[Row]) -> dict[str, Any]:
    """Return what rows add up to."""
    rows = list(rows)
    failed = [each for each in rows if each["status"] not in ("ok", "abandoned")]
    whole = "input_tokens output_tokens cached_tokens reasoning_tokens saved duration".split()
    return {
        "requests": len(rows),
        "failures": len(failed),
        "kept": sum(each["cache"] in ("hit", "semantic", "coalesced") for each in rows),
        "unpriced": sum(each["cost"] is None for each in rows),
        "cost": sum(each["cost"] or 0 for each in rows),
        **{name: sum(each[name] for each in rows) for name in whole},
    }


def grouped(rows: Iterable[Row], named: Callable[[Row], Any]) -> dict[Any, dict[str, Any]]:
    """Return what rows add up to by what `named` says of each."""
    found: dict[Any, list[Row]] = {}
    for each in rows:
        found.setdefault(named(each), []).append(each)
    return {name: counted(some) for name, some in found.items()}


def days(count: float) -> timedelta:
    return timedelta(days=count)
