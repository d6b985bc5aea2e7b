"""The cache by meaning with 10,000 entries: a look with its embedding, the memory of a worker, a hit through HTTP."""

import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import load, servers

Row = tuple[str, str, str]

ENTRIES = int(os.environ.get("BENCH_ENTRIES", "10000"))
LOOKS = 300
TEXT = "/v1/text/generate"
VERBS = "open close move find count sort paint build clean carry weigh fold measure repair label store".split()
THINGS = "box door list table river bridge letter engine garden window ladder basket pipe bottle field".split()
PLACES = "Oslo Lima Kyoto Ghent Nairobi Porto Basel Lagos Quito Turin Leeds Osaka Dakar Tunis Riga Cork".split()


def question(dice: random.Random) -> str:
    """Return one of some thousand questions, with an end that makes it new."""
    verb, thing, place = dice.choice(VERBS), dice.choice(THINGS), dice.choice(PLACES)
    return f"How do people {verb} a {dice.choice(THINGS)} or a {thing} in {place} and {dice.choice(PLACES)}"


def semantic() -> list[Row]:
    """Return what was measured."""
    alone = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.semantic_serving"]
    found = json.loads(subprocess.check_output(command, cwd=servers.ROOT, env=alone))
    look = f"p50 {found['look']:.1f} ms, p99 {found['worst']:.1f} ms (embedding alone: p50 {found['embed']:.1f} ms)"
    return [
        (f"a look by meaning among {ENTRIES} entries, with embedding", look, "p50 <= 8 ms"),
        (f"memory of the application with {ENTRIES} entries", f"{found['memory']:.0f} MB", "<= 350 MB"),
        ("a hit by meaning through HTTP", through_http(), "p50 <= 12 ms"),
    ]


def through_http() -> str:
    """Return the latencies of one caller whose questions are all answered by meaning."""
    dice = random.Random(1)

    def body(_: int) -> Any:
        return {"prompt": question(dice), "cache": {"max_error": 0.05}, "model": "gemini/fake", "max_tokens": 64}

    with servers.upstream() as up, servers.service(up, LLMAPI_SEMANTIC_POLICY="fixed:0.2") as ours:
        load.calls(ours.port, TEXT, body, clients=1, each=30)
        outcome = load.calls(ours.port, TEXT, body, clients=1, each=LOOKS)
    return f"p50 {outcome.percentile(0.5) * 1e3:.1f} ms, {outcome.errors} errors"


def inside() -> dict[str, float]:
    """Measure within this process: an application, the embedder, and entries at random places."""
    import numpy as np

    from llmapi.app import create_app
    from llmapi.bootstrap import build
    from llmapi.cache.namespaces import Asked
    from llmapi.cache.record import Source, recorded
    from llmapi.cache.semantic import Spaces
    from llmapi.core.calls import Completion, Usage
    from llmapi.core.kept import About
    from llmapi.parts.semantic import embedder_of
    from llmapi.providers.embeddings import DIMENSIONS
    from llmapi.settings import Settings

    with tempfile.TemporaryDirectory() as folder:
        create_app(build(Settings(data_dir=Path(folder), local=False)))
    dice, places, embedder, spaces = random.Random(2), np.random.default_rng(2), embedder_of({}), Spaces()
    space, answer = "bench:" + "0" * 32, Completion("An answer of some length. " * 20, Usage(20, 100), "stop")
    centre = np.asarray(embedder.embed([question(dice)])[0], dtype=np.float32)
    for number in range(ENTRIES):
        vector = (centre + places.normal(size=DIMENSIONS) * 0.05).astype(np.float32)
        asked = Asked(space, f"{question(dice)} {number}")
        look = spaces.look(asked, "text", vector / np.linalg.norm(vector), 0.01)
        about = About("bench", "text")
        spaces.learn(look, recorded(answer, Source("p", "m"), about, created=time.time(), ttl=3600.0))
    looks, embeddings = [], []
    for _ in range(LOOKS):
        asked, begin = Asked(space, question(dice)), time.perf_counter()
        vector = np.asarray(embedder.embed([asked.text])[0], dtype=np.float32)
        embeddings.append(time.perf_counter() - begin)
        spaces.look(asked, "text", vector, 0.01)
        looks.append(time.perf_counter() - begin)
    return {
        "look": statistics.median(looks) * 1e3,
        "worst": statistics.quantiles(looks, n=100)[98] * 1e3,
        "embed": statistics.median(embeddings) * 1e3,
        "memory": int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6,
    }


if __name__ == "__main__":
    print(json.dumps(inside()))
