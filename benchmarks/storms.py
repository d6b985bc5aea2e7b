"""Providers in trouble: how many calls are answered, what it costs, how soon all is well again."""

import asyncio
import json
import os
import time
import urllib.request
from typing import Any

from benchmarks import load, servers

TEXT = "/v1/text/generate"
ROUTE = {"candidates": ["gemini/fake-x", "openai/gpt-4o-mini"]}
BOTH = {"LLMAPI_ROUTES": json.dumps({"both": ROUTE})}
SECONDS = float(os.environ.get("BENCH_OVERLOAD", "60"))
PLACES, TAKES, TIMES = 6, 0.2, 10  # the provider's places, seconds it takes, times as many calls as it can answer

Row = tuple[str, str, str]


def question(model: str, salt: str) -> Any:
    return lambda number: {"prompt": f"Question {salt} {number}", "model": model, "max_tokens": 64}


def tell(up: servers.Server, what: str) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{up.port}/{what}", timeout=5) as answer:
        return int(answer.read())


def failover() -> list[Row]:
    """The first of two providers fails every call, then heals."""
    with servers.upstream() as up, servers.service(up, **BOTH) as ours:
        load.calls(ours.port, TEXT, question("openai/gpt-4o-mini", "warm"), clients=8, each=10)
        tell(up, "down")
        first = load.calls(ours.port, TEXT, question("both", "first"), clients=8, each=125)
        rows = []
        for turn in range(5):
            around = load.calls(ours.port, TEXT, question("both", f"a{turn}"), clients=8, each=50)
            direct = load.calls(ours.port, TEXT, question("openai/gpt-4o-mini", f"b{turn}"), clients=8, each=50)
            rows.append(around.percentile(0.95) - direct.percentile(0.95))
        before, begun = tell(up, "asked"), time.monotonic()
        while time.monotonic() - begun < 15:
            load.calls(ours.port, TEXT, question("both", f"p{time.monotonic()}"), clients=2, each=10)
        probes = (tell(up, "asked") - before) / 3
        back = seconds_back(up, ours)
    return [
        ("1,000 calls, the first of two providers fails all", f"{1000 - first.errors} answered", "1,000"),
        ("the same once its breaker is open, added p95", f"{sorted(rows)[2] * 1000:.1f} ms", "<= 50 ms"),
        ("probes of the dead provider in 5 s", f"{probes:.1f}", "<= 1"),
        ("healed, until it is asked again", f"{back:.1f} s", "<= 10 s"),
    ]


def seconds_back(up: servers.Server, ours: servers.Server) -> float:
    tell(up, "up")
    before, begun = tell(up, "asked"), time.monotonic()
    while tell(up, "asked") < before + 5 and time.monotonic() - begun < 60:
        load.calls(ours.port, TEXT, question("both", f"h{time.monotonic()}"), clients=2, each=3)
    return time.monotonic() - begun


def half() -> list[Row]:
    """One provider, half of whose answers are 503."""
    with servers.upstream() as up, servers.service(up) as ours:
        outcome = load.calls(ours.port, TEXT, question("gemini/fake-f50", "half"), clients=16, each=100)
        share = tell(up, "asked") / 1600
    good = (1600 - outcome.errors) / 1600
    return [("1,600 calls, half of the answers are 503", f"{share:.2f} x asked, {good:.0%} answered", "<= 1.2 x")]


def overload() -> list[Row]:
    """Ten times as many calls as the provider can answer, for a minute."""
    can = PLACES / TAKES
    ask = question(f"gemini/fake-c{PLACES}-s{int(TAKES * 1000)}", "o")

    def arriving(port: int, rate: float, seconds: float) -> list[load.Answer]:
        return asyncio.run(load.arriving(port, rate, seconds, lambda number: load.packed(TEXT, ask(number))))

    with servers.upstream() as up, servers.service(up) as ours:
        arriving(ours.port, can * 0.9, 5)  # to warm up
        peak = sum(each.status == 200 for each in arriving(ours.port, can, 20)) / 20
        memory = ours.memory()
        answers = arriving(ours.port, can * TIMES, SECONDS)
        grown = ours.memory() - memory
    refused = sorted(each.took for each in answers if each.status not in (0, 200))
    errors = sum(not each.status for each in answers)
    late = refused[int(0.95 * len(refused))] if refused else 0.0
    share = sum(each.status == 200 for each in answers) / SECONDS / peak
    what = f"{TIMES} x overload for {SECONDS:.0f} s ({can * TIMES:.0f} calls/s, {len(refused)} refused)"
    return [
        (f"{what}: useful answers", f"{share:.0%} of the peak ({peak:.0f}/s), {errors} errors", ">= 80 %"),
        ("refusals p95", f"{late * 1000:.0f} ms", "<= 100 ms"),
        ("memory grown", f"{grown:.0f} MB", "<= 100 MB"),
    ]
