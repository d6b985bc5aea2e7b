"""A provider that answers what a test scripted, and the parts of a gateway around it."""

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from llmapi.cache.memory import MemoryCache
from llmapi.core.calls import Call, Chunk, Completion, Facts, Message, Target, Usage
from llmapi.core.lifetime import Lifetime
from llmapi.core.money import FREE, UNPRICED, Cost
from llmapi.core.reply import Handler, Reply
from llmapi.gateway.recipe import build_gateway

PATIENCE = 10.0  # seconds a test waits for what must happen at once
HELLO = Completion("Hello.", Usage(5, 2), "stop")

Step = Chunk | BaseException | Callable[[Call], Any]  # what comes next; a function is called while it is waited for
Script = Completion | BaseException | Sequence[Step] | Callable[[Call], Reply]


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class ScriptedProvider:
    """Answers each call with the next line of its script (the last one for ever) and keeps what it was asked."""

    def __init__(self, name: str = "p", *script: Script) -> None:
        self.name = name
        self.script = list(script) or [HELLO]
        self.asked: list[Call] = []
        self.closed = 0
        self._lock = threading.Lock()

    def ask(self, call: Call) -> Reply:
        with self._lock:
            line = self.script[min(len(self.asked), len(self.script) - 1)]
            self.asked.append(call)
        if callable(line):
            return line(call)
        if isinstance(line, BaseException):
            raise line
        if isinstance(line, Completion):
            return Reply.of(line, Facts())
        return self.stream(call, line)

    def stream(self, call: Call, steps: Sequence[Step]) -> Reply:
        chunks = self._chunks(call, steps)
        first = next(chunks)  # as an adapter does: the first chunk is in hand, or its failure is raised here
        return Reply(_Closing(first, chunks, self), Facts())

    def _chunks(self, call: Call, steps: Sequence[Step]) -> Generator[Chunk, None, None]:
        for step in steps:
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, Chunk):
                yield step
            else:
                step(call)

    def health(self) -> Mapping[str, Any]:
        return {"status": "ok"}

    def close(self) -> None:
        pass


class _Closing:
    """Chunks that count being closed, also before they were read."""

    def __init__(self, first: Chunk, chunks: Generator[Chunk, None, None], provider: ScriptedProvider) -> None:
        self._first: Chunk | None = first
        self._chunks = chunks
        self._provider = provider

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return next(self._chunks)

    def close(self) -> None:
        self._chunks.close()  # fails when another thread is reading, as closing a socket under a reader would
        self._provider.closed += 1


@dataclass
class PennyPrices:
    """A thousand nano-dollars a token; "free" is free, "unknown" is unknown."""

    asked: list[str] = field(default_factory=list)

    def cost(self, target: Target, usage: Usage) -> Cost:
        self.asked.append(target.model)
        if target.provider == "free":
            return FREE
        return UNPRICED if target.provider == "unknown" else Cost(1000 * usage.total_tokens, "priced")


@dataclass
class KeptEvents:
    events: list[Any] = field(default_factory=list)

    def tell(self, event: Any) -> None:
        self.events.append(event)


def a_call(**said: Any) -> Call:
    """Return a plain call with a minute to live, changed as said."""
    plain: dict[str, Any] = {
        "id": "call_1",
        "tenant": "acme",
        "task": "text",
        "model": "default",
        "targets": (Target("p", "m"),),
        "lifetime": Lifetime(60.0),
        "messages": (Message("user", "hello"),),
    }
    return Call(**{**plain, **said})


def run(*works: Callable[[], Any]) -> list[Any]:
    """Run functions in threads of their own at once; return what each returned or raised."""
    results: list[Any] = [None] * len(works)
    start = threading.Barrier(len(works))

    def work(place: int) -> None:
        start.wait(PATIENCE)
        try:
            results[place] = works[place]()
        except BaseException as error:
            results[place] = error

    threads = [threading.Thread(target=work, args=(place,), daemon=True) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    return results


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bus() -> KeptEvents:
    return KeptEvents()


@pytest.fixture
def prices() -> PennyPrices:
    return PennyPrices()


@pytest.fixture
def cache(clock: Clock) -> MemoryCache:
    return MemoryCache(8, 60.0, clock)


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider()


@pytest.fixture
def naps() -> list[float]:
    return []


@pytest.fixture
def gateway(
    provider: ScriptedProvider,
    cache: MemoryCache,
    bus: KeptEvents,
    prices: PennyPrices,
    clock: Clock,
    naps: list[float],
) -> Handler:
    return build_gateway(
        providers={"p": provider},
        cache=cache,
        bus=bus,
        prices=prices,
        sleep=lambda seconds, _: naps.append(seconds),
        jitter=lambda: 1.0,
        clock=clock,
    )
