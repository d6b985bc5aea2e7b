"""CPU of a cached answer inside the application, without gunicorn: keys, limits, metrics and logs on."""

import gc
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from werkzeug.test import EnvironBuilder

from benchmarks import servers
from llmapi.app import create_app
from llmapi.bootstrap import build
from llmapi.events.logs import configure_logs
from llmapi.setting_tables import Limits
from llmapi.settings import Settings

BODY = {"prompt": "Say something about the sea.", "model": "gemini/fake", "max_tokens": 64}
TIMES = 3000


def asked(path: str) -> dict[str, Any]:
    builder = EnvironBuilder(path, method="POST", json=BODY, headers={"Authorization": "Bearer bench-key"})
    environ = builder.get_environ()
    environ["REMOTE_ADDR"] = "127.0.0.1"
    return environ


def cpu(app: Any, path: str, runs: int = 6) -> float:
    """Return CPU microseconds a request, the best of some runs."""
    best = float("inf")
    for _ in range(runs):
        environs = [asked(path) for _ in range(TIMES)]
        begin = time.thread_time()
        for environ in environs:
            b"".join(app(environ, lambda status, headers: None))
        best = min(best, (time.thread_time() - begin) / TIMES * 1e6)
    return best


def main() -> None:
    configure_logs(out=open(os.devnull, "w"), delay=0.05)  # as wsgi.py does
    with tempfile.TemporaryDirectory() as folder, servers.upstream() as upstream:
        address = f"http://127.0.0.1:{upstream.port}"
        os.environ["BENCH_UPSTREAM"] = address
        from benchmarks.bare import app as bare

        services = build(
            Settings(
                data_dir=Path(folder),
                auth="required",
                api_keys=(SecretStr("bench-key"),),
                google_api_key=SecretStr("AIzaSyFake"),
                gemini_base_url=address,
                limits=Limits(text="100000000/minute"),
                local=False,
            )
        )
        app = create_app(services)
        services.start()
        cpu(app, "/v1/text/generate", runs=1)
        gc.collect()  # as gunicorn.conf.py does once a worker is warm
        gc.freeze()
        gc.set_threshold(10_000, 20, 100)
        print(json.dumps({"ours": cpu(app, "/v1/text/generate"), "bare": cpu(bare, "/constant")}))
        services.close()


if __name__ == "__main__":
    main()
