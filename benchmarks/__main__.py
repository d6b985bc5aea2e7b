"""Run the measurements and print them as rows of a table."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from benchmarks import cache_tier, lasting, load, semantic_serving, servers, steady, storms, usage

TEXT = "/v1/text/generate"
ROUNDS = 5


def say(what: str, figure: str, target: str) -> None:
    print(f"| {what} | {figure} | {target} |", flush=True)


def same(_: int) -> Any:
    return {"prompt": "Say something about the sea.", "model": "gemini/fake", "max_tokens": 64}


def fresh(salt: str) -> Callable[[int], Any]:
    return lambda number: {**same(0), "prompt": f"Question {salt} {number}"}


Figures = tuple[float, float]  # requests a second, CPU microseconds a request


def measured(server: servers.Server, path: str, body: Callable[[int], Any], clients: int, each: int) -> Figures:
    """Load a server and return its figures; all its answers must be good."""
    before = server.cpu()
    outcome = load.calls(server.port, path, body, clients=clients, each=each)
    if outcome.errors:
        raise RuntimeError(f"{outcome.errors} requests to {path} failed")
    asked = clients * each
    return asked / outcome.wall, (server.cpu() - before) / asked * 1e6


def compared(ours: Callable[[int], Figures], theirs: Callable[[int], Figures]) -> tuple[list[float], list[float]]:
    """Measure both in turn, A B A B; return the medians (our rate, theirs, our CPU, theirs) and the ratios' medians."""
    ours(-1)
    theirs(-1)  # to warm up
    rows = [(*ours(number), *theirs(number)) for number in range(ROUNDS)]
    figures = [statistics.median(row[place] for row in rows) for place in (0, 2, 1, 3)]
    return figures, [statistics.median(row[place] / row[place + 2] for row in rows) for place in (0, 1)]


def cached() -> None:
    with servers.upstream() as up, servers.service(up) as ours, servers.bare(up) as bare:
        figures, ratios = compared(
            lambda _: measured(ours, TEXT, same, 16, 250), lambda _: measured(bare, "/constant", same, 16, 250)
        )
    share = f"{ratios[0]:.0%} ({figures[0]:.0f} of {figures[1]:.0f}/s)"
    say("cached answer, share of a bare route's requests/s", share, ">= 40 %")
    say("cached answer, CPU a request, gunicorn included", f"{figures[2]:.0f} us (bare: {figures[3]:.0f} us)", "")
    inside = json.loads(subprocess.check_output([sys.executable, "-m", "benchmarks.inside"], cwd=servers.ROOT))
    figure = f"{inside['ours']:.0f} us (bare route: {inside['bare']:.0f} us)"
    say("cached answer, CPU inside the application", figure, "<= 350 us")


def miss() -> None:
    with servers.upstream() as up, servers.service(up) as ours, servers.bare(up) as bare:
        figures, ratios = compared(
            lambda n: measured(ours, TEXT, fresh(f"a{n}"), 8, 100),
            lambda n: measured(bare, "/langchain", fresh(f"b{n}"), 8, 100),
        )
    figure = f"{ratios[1]:.2f} x ({figures[2]:.0f} of {figures[3]:.0f} us)"
    say("miss, CPU against bare Flask with the same model object", figure, "<= 1.25 x")


def slow(salt: str) -> Callable[[int], Any]:
    return lambda number: {**fresh(salt)(number), "model": "gemini/fake-s2000"}


def streaming(salt: str, model: str) -> Callable[[int], Any]:
    return lambda number: {**fresh(salt)(number), "stream": True, "model": model}


def concurrent() -> None:
    with servers.upstream() as up, servers.service(up, workers=2) as ours:
        load.calls(ours.port, TEXT, fresh("warm"), clients=32, each=4)
        for clients, target in ((500, "<= 3.0 s"), (1000, "<= 4.5 s")):
            outcome = load.calls(ours.port, TEXT, slow(f"c{clients}"), clients=clients, each=1)
            figure = f"{outcome.wall:.2f} s, {outcome.errors} errors, p50 {outcome.percentile(0.5):.2f} s"
            figure += f", {ours.memory():.0f} MB"
            say(f"{clients} calls of 2 s at once, 2 workers", figure, f"{target}, 0 errors")


def streams() -> None:
    with servers.upstream() as up, servers.service(up, workers=2) as ours:
        load.streams(ours.port, TEXT, streaming("w", "gemini/fake-n3-g10"), clients=32, within=1)
        before = ours.cpu()
        outcome = load.streams(ours.port, TEXT, streaming("s", "gemini/fake-n25-g200"), clients=250, within=5)
        cost = (ours.cpu() - before) / max(1, outcome.chunks) * 1e6
    figure = f"p99 {outcome.percentile(0.99, outcome.first):.3f} s, p50 {outcome.percentile(0.5, outcome.first):.3f} s"
    say(
        "250 streams at 5 chunks/s, 2 workers, time to the first chunk",
        f"{figure}, {outcome.errors} errors, {cost:.0f} us a chunk",
        "p99 <= 0.1 s, 0 errors",
    )


TIMED = """
import gc, json, resource, sys, time
gc.disable()  # as deploy/gunicorn.conf.py does
begin = time.perf_counter()
{work}
print(json.dumps([time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""
START = """
from pathlib import Path
from llmapi.app import create_app
from llmapi.bootstrap import build
from llmapi.settings import Settings
create_app(build(Settings(data_dir=Path(sys.argv[1]))))
"""
LIBRARIES = "import flask, flask_smorest, flask_limiter, flask_cors, sqlalchemy, pydantic_settings, structlog"


def timed(work: str, folder: str) -> list[float]:
    """Return the seconds and megabytes of some work in a new process."""
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", TIMED.format(work=work), folder]
    found: list[float] = json.loads(subprocess.check_output(command, cwd=servers.ROOT, env=usual))
    return found


def start() -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = [timed(START, folder) + timed(LIBRARIES, folder) for _ in range(7)][2:]
    ours, megabytes, theirs, bare = (statistics.median(row[place] for row in rows) for place in range(4))
    figure = f"{ours:.2f} s, {megabytes:.0f} MB (its libraries alone: {theirs:.2f} s, {bare:.0f} MB)"
    say("create_app() with all imports, no provider used", figure, "<= 0.5 s, <= 70 MB")


def door() -> None:
    """The OpenAI door beside the task door: the same question, kept and not."""
    chat = "/v1/chat/completions"

    def asked(body: Any) -> Any:
        return {"model": body["model"], "max_tokens": 64, "messages": [{"role": "user", "content": body["prompt"]}]}

    with servers.upstream() as up, servers.service(up) as ours:
        for what, kept, each in (("cached", True, 250), ("miss", False, 60)):
            _, ratios = compared(
                lambda n: measured(ours, chat, lambda i: asked(same(i) if kept else fresh(f"d{n}")(i)), 8, each),
                lambda n: measured(ours, TEXT, lambda i: same(i) if kept else fresh(f"e{n}")(i), 8, each),
            )
            say(f"chat completions against the task door, CPU, {what}", f"{ratios[1]:.2f} x", "<= 1.1 x")


def rows_of(measure: Callable[[], list[storms.Row]]) -> Callable[[], None]:
    def run() -> None:
        for row in measure():
            say(*row)

    return run


ALL = {"start": start, "cached": cached, "miss": miss, "concurrent": concurrent, "streams": streams, "door": door}
ALL |= {name: rows_of(getattr(storms, name)) for name in ("failover", "half", "overload")}
ALL |= {name: rows_of(getattr(lasting, name)) for name in ("webhooks", "sockets")}
ALL |= {name: rows_of(getattr(steady, name)) for name in ("mixed", "cache_away")}
ALL["usage"] = rows_of(usage.usage)
ALL["semantic"] = rows_of(semantic_serving.semantic)
ALL["cache_tier"] = rows_of(cache_tier.cache_tier)

if __name__ == "__main__":
    print("| what | measured | wanted |\n| --- | --- | --- |")
    for name in sys.argv[1:] or ALL:
        ALL[name]()
