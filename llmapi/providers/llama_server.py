"""The child process that runs the embedded language model behind a loopback port.

Run as a file, not as a module, so that it loads nothing of ours. Its orders are one JSON line on stdin; where it
listens is one JSON line on stdout; stdin's end means that its owner is gone, and it goes too.
"""

import json
import os
import signal
import sys
from typing import Any

CONTEXT = 2048  # tokens a call may use in all: what the model was trained on


def main() -> None:
    """Start as ordered, tell where, and stay until the owner is gone."""
    for unwanted in (signal.SIGINT, signal.SIGTERM):  # sent to whole groups; the owner drains first and decides
        signal.signal(unwanted, signal.SIG_IGN)
    tell = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the engine prints goes to the log
    server = serve(json.loads(sys.stdin.readline()))
    print(json.dumps({"address": server.listening_address}), file=tell, flush=True)
    tell.close()
    sys.stdin.read()
    os._exit(0)  # the engine's own end would wait for running answers


def serve(orders: dict[str, Any]) -> Any:
    """Return a server that is loaded and listening; raises RuntimeError when it cannot."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = orders["model"]
    params.model_alias = {orders["name"]}  # else answers would tell the path of the file
    params.api_keys = [orders["api_key"]]  # the port is open to every user of the machine
    params.n_parallel = orders["slots"]
    params.n_ctx = orders["slots"] * CONTEXT
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = orders["threads"]
    params.n_threads_http = 64  # a waiting request holds one
    params.cache_ram_mib = 0  # else up to 8 GB of old prompts
    params.cache_prompt = False  # else the tokens reported as cached tell how another caller's prompt began
    params.verbosity = 0
    params.cors_origins = ""
    params.ui = params.endpoint_slots = False
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
