"""A transport of its own for each test, and calls that may live as long as the test says."""

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from llmapi.core.calls import Call, Message, Target
from llmapi.core.lifetime import Lifetime
from llmapi.providers.exchange import Exchange, during
from llmapi.providers.transport import Transport

ALL = frozenset({"chat", "stream", "json_schema", "logprobs", "votes", "embeddings"})


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = Transport(usual_time=10.0)
    yield made
    made.close()


@pytest.fixture
def question() -> Callable[..., Call]:
    """Return a maker of calls: question("gemini", stream=True, seconds=0.2)."""

    def make(provider: str, model: str = "fake-1", seconds: float = 10.0, **fields: Any) -> Call:
        target = Target(provider, model, fields.pop("abilities", ALL), 1000)
        wanted = {"lifetime": Lifetime(seconds), "messages": (Message("user", "Say it"),), **fields}
        return Call(
            id="c1", tenant="t", task="text", model=model, targets=(target,), target=target, **wanted
        )

    return make


@pytest.fixture
def in_thread() -> Iterator[Callable[[Callable[[], Any]], "Later"]]:
    """Run something beside the test; its outcome is asked for with `.outcome()`."""
    started: list[Later] = []

    def start(work: Callable[[], Any]) -> Later:
        started.append(Later(work))
        return started[-1]

    yield start
    for each in started:
        each.join(5)


class Later(threading.Thread):
    """Work in a thread, whose result or error is kept."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._outcome: Any = None
        self.start()

    def run(self) -> None:
        try:
            self._outcome = self._work()
        except BaseException as error:
            self._outcome = error

    def outcome(self) -> Any:
        """Return what came of it, an error as a value; fails when it takes more than eight seconds."""
        self.join(8)  # less than the ten seconds that `transport` gives who has no deadline
        assert not self.is_alive()
        return self._outcome


def address_of(server: socket.socket) -> str:
    """Return the address of a listening socket."""
    return f"http://127.0.0.1:{server.getsockname()[1]}/"


def asked_within(lifetime: Lifetime, ask: Callable[[], Any]) -> Any:
    """Ask with the transport knowing whose time it spends."""
    with during(Exchange(lifetime)):
        return ask()
