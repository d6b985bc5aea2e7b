"""What must hold for minutes: a mixed load, and a cache server that is killed, frozen, or comes and goes."""

import asyncio
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import load, servers
from benchmarks.semantic_serving import question
from tests.servers.valkey import Valkey

Row = tuple[str, str, str]
SECONDS = float(os.environ.get("BENCH_STEADY", "120"))
PHASE = float(os.environ.get("BENCH_PHASE", "20"))
RATE, AWAY_RATE = 100.0, 50.0  # requests a second
TEXT, CODE, CLASSIFY, CHAT = "/v1/text/generate", "/v1/code/generate", "/v1/classify", "/v1/chat/completions"
SLOW = "gemini/fake-s50"


def known(number: int) -> tuple[str, Any]:
    return TEXT, {"prompt": f"Say something about sea number {number % 40}.", "model": "gemini/fake", "max_tokens": 64}


def new(number: int) -> tuple[str, Any]:
    return TEXT, {"prompt": f"Question {number}", "model": SLOW, "max_tokens": 64}


def classified(number: int) -> tuple[str, Any]:
    labels = ["yes", "no"]
    return CLASSIFY, {"text": f"Text {number % 500}", "labels": labels, "model": "gemini/fake-s50-says-yes"}


def streamed(number: int) -> tuple[str, Any]:
    model = "gemini/fake-n10-g50"
    return TEXT, {"prompt": f"Stream {number}", "model": model, "max_tokens": 64, "stream": True}


def written(number: int) -> tuple[str, Any]:
    prompt = f"Write function {number % 200}."
    return CODE, {"prompt": prompt, "language": "python", "verify": "none", "model": "gemini/fake", "max_tokens": 64}


def chatted(number: int) -> tuple[str, Any]:
    messages = [{"role": "user", "content": f"Question {number}"}]
    return CHAT, {"messages": messages, "model": SLOW, "max_tokens": 64}


def meant(number: int) -> tuple[str, Any]:
    prompt = question(random.Random(number))
    return TEXT, {"prompt": prompt, "cache": {"max_error": 0.05}, "model": "gemini/fake", "max_tokens": 64}


MIX = (known,) * 8 + (new,) * 4 + (classified, streamed, streamed, written, written, chatted, chatted, meant)


def good(answer: load.Answer) -> bool:
    """Say whether an answer is a whole one: a stream that broke off is none."""
    return answer.status == 200 and (b"event: chunk" not in answer.body or b"event: done" in answer.body)


def percentile(answers: Sequence[load.Answer], share: float) -> float:
    """Return a percentile of the answers' times, in milliseconds."""
    took = sorted(each.took for each in answers)
    return took[min(len(took) - 1, int(share * len(took)))] * 1e3


def mixed() -> list[Row]:
    """A hundred requests a second of all kinds, for two minutes, on two workers over a shared cache."""

    def request(number: int) -> bytes:
        return load.packed(*MIX[number % len(MIX)](number))

    much = {f"LLMAPI_LIMITS_{name}": servers.MUCH for name in ("CODE", "CLASSIFY")}
    with tempfile.TemporaryDirectory() as folder, Valkey(Path(folder)) as server, servers.upstream() as up:
        with servers.service(up, workers=2, LLMAPI_CACHE_URL=server.url, **much) as ours:
            asyncio.run(load.arriving(ours.port, RATE / 4, SECONDS / 6, request))  # to warm up
            used, memory, answers = ours.cpu(), [ours.memory()], []
            for begin in (10_000, 20_000):
                ask = partial(lambda begin, number: request(begin + number), begin)
                answers += asyncio.run(load.arriving(ours.port, RATE, SECONDS / 2, ask))
                memory.append(ours.memory())
            cpu = (ours.cpu() - used) / SECONDS
    errors = sum(not good(each) for each in answers)
    figure = f"{errors} errors of {len(answers)}, p50 {percentile(answers, 0.5):.0f} ms"
    figure += f", p99 {percentile(answers, 0.99):.0f} ms, {cpu:.0%} of a core, "
    figure += ", ".join(f"{each:.0f}" for each in memory) + " MB at the begin, half and end"
    return [(f"{RATE:.0f} mixed requests/s for {SECONDS:.0f} s, 2 workers", figure, "0 errors")]


def half_known(number: int) -> bytes:
    """Return a request for a kept answer, too many of them for the memory alone, or for a new one."""
    what = {"prompt": f"Known {number // 2 % 200}" if number % 2 else f"New {number} {time.monotonic()}"}
    return load.packed(TEXT, {**what, "model": "gemini/fake-s20", "max_tokens": 64})


def flap(server: Valkey, seconds: float) -> None:
    """Kill a server and start it again, every second."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(1.0)
        server.kill()
        time.sleep(1.0)
        server.start()


def send(server: Valkey, what: signal.Signals) -> Callable[[], None]:
    """Return a function that sends a signal to a server."""
    pid = int(server.client().info()["process_id"])
    return lambda: os.kill(pid, what)


def phase(port: int, around: Callable[[], object] | None = None) -> list[load.Answer]:
    """Ask for a while; meanwhile something is done."""
    thread = threading.Thread(target=around or (lambda: None))
    thread.start()
    answers = asyncio.run(load.arriving(port, AWAY_RATE, PHASE, half_known))
    thread.join()
    return answers


def seconds_back(port: int, server: Valkey) -> float:
    """Return how long it takes until answers are kept on the server again."""
    server.client().flushall()
    begun = time.monotonic()
    while not server.client().dbsize() and time.monotonic() - begun < 30:
        asyncio.run(load.arriving(port, AWAY_RATE, 0.1, half_known))
    return time.monotonic() - begun


def cache_away() -> list[Row]:
    """A cache's server that is killed, frozen, and comes and goes, while fifty requests a second come."""
    with tempfile.TemporaryDirectory() as folder, Valkey(Path(folder)) as server, servers.upstream() as up:
        with servers.service(up, LLMAPI_CACHE_URL=server.url) as ours:
            phase(ours.port)  # to warm up
            told, back = {"there": phase(ours.port)}, {}
            told["killed"] = phase(ours.port, server.kill)
            server.start()
            back["killed"] = seconds_back(ours.port, server)
            freeze, thaw = send(server, signal.SIGSTOP), send(server, signal.SIGCONT)
            told["frozen"] = phase(ours.port, freeze)
            thaw()
            back["frozen"] = seconds_back(ours.port, server)
            told["comes and goes"] = phase(ours.port, lambda: flap(server, PHASE - 2))
            back["comes and goes"] = seconds_back(ours.port, server)
            told["there again"] = phase(ours.port)
    calm = min(percentile(told[name], 0.99) for name in ("there", "there again"))
    rows: list[Row] = [("cache server there, p99 of 50 requests/s", f"{calm:.0f} ms", "")]
    for name, seconds in back.items():
        errors = sum(not good(each) for each in told[name])
        added = percentile(told[name], 0.99) - calm
        figure = f"{errors} errors of {len(told[name])}, p99 {added:+.0f} ms, used again after {seconds:.1f} s"
        rows.append((f"the same {name}", figure, "0 errors, <= +60 ms, <= 5 s"))
    return rows
