"""Where every question enters, whatever door it came through: HTTP, a job, a batch line, the command line."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from llmapi.core.calls import INTERACTIVE, CacheWish, Call, Message, nothing
from llmapi.core.clock import Monotonic, Wall, monotonic, utc_now
from llmapi.core.contracts import Models, Prices
from llmapi.core.identity import NOBODY, Payer
from llmapi.core.lifetime import Lifetime
from llmapi.core.money import FREE
from llmapi.core.reply import Handler
from llmapi.tasks.answers import Json, answer_of, cost_of
from llmapi.tasks.tab import Tab

Wanted = Mapping[str, Any]
LONGEST_COMPLAINT = 4000  # characters about what was wrong with an answer


@dataclass(frozen=True, slots=True)
class TaskDefaults:
    """What a task uses when the caller does not say; `timeout` is in seconds and for the whole request."""

    model: str
    temperature: float
    max_tokens: int
    system: str
    timeout: float
    cache: CacheWish = CacheWish()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, under which request id, and for how long.

    lifetime: of the request, when somebody else has begun it; None: as long as the task and `limit` allow
    limit: most seconds the caller wants to wait
    provider_key: the caller's own key for the provider, for this request only
    again: the caller's library repeats a request whose answer it lost
    sending, refused: told of each asking of a provider, as in Call
    payer, batch, priority: as in Call
    """

    tenant: str
    request_id: str
    lifetime: Lifetime | None = None
    limit: float | None = None
    provider_key: str = field(default="", repr=False)
    again: bool = False
    sending: Callable[[], None] = nothing
    refused: Callable[[Any], None] = nothing
    payer: Payer = NOBODY
    batch: bool = False
    priority: int = INTERACTIVE


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event of a streamed answer: pieces of text, then the whole answer."""

    kind: Literal["chunk", "done"]
    data: Json


@dataclass(frozen=True, slots=True)
class Plan:
    """What a task would ask at most: these calls, each followed by up to `repairs` longer ones."""

    calls: tuple[Call, ...]
    repairs: int = 0


class Task(Protocol):
    """One kind of work; `base` is a call with everything but the question."""

    def answer(self, tab: Tab, base: Call, wanted: Wanted) -> Json:
        """Return the output, asking through the tab."""
        ...

    def stream(self, tab: Tab, base: Call, wanted: Wanted) -> Iterator[str | StreamEvent | Json]:
        """Yield pieces of text, or events of pieces that are more than text, then the output."""
        ...

    def plan(self, base: Call, wanted: Wanted) -> Plan:
        """Return what `answer` would ask."""
        ...


class Estimator(Protocol):
    """Tells what a plan costs at most without asking a model (gateway/preview.py)."""

    def __call__(self, call: Call) -> Mapping[str, Any]: ...


def nowhere(tenant: str) -> Collection[str]:
    """Return no provider."""
    return ()


class Tasks:
    """The tasks by name, on top of one gateway.

    stored: the providers a tenant has stored keys for
    asked: told of each request that was answered while somebody waited: tenant, task, request
    """

    def __init__(
        self,
        tasks: Mapping[str, Task],
        *,
        gateway: Handler,
        models: Models,
        prices: Prices,
        preview: Estimator,
        defaults: Mapping[str, TaskDefaults],
        stored: Callable[[str], Collection[str]] = nowhere,
        asked: Callable[[str, str, Wanted], None] = nothing,
        clock: Monotonic = monotonic,
        now: Wall = utc_now,
    ) -> None:
        self._tasks, self._gateway, self._models, self._prices = tasks, gateway, models, prices
        self._stored, self._asked = stored, asked
        self._preview, self._defaults, self._clock, self._now = preview, defaults, clock, now

    def timeout(self, task: str, limit: float | None = None) -> float:
        """Return the seconds a request of this task may take; the caller's own limit can only lower them."""
        usual = self._defaults[task].timeout
        return usual if limit is None else min(usual, limit)

    def answer(self, task: str, wanted: Wanted, caller: Caller) -> Json:
        """Return the whole answer of a task, JSON-ready; raises LlmApiError."""
        started, tab = self._clock(), Tab(self._gateway, self._prices)
        output = self._tasks[task].answer(tab, self._base(task, wanted, caller), wanted)
        self._count(task, wanted, caller)
        return self._told(task, output, tab, caller, started)

    def stream(self, task: str, wanted: Wanted, caller: Caller) -> Iterator[StreamEvent]:
        """Yield a task's answer as events: chunks of text, then `done` with the whole answer; raises LlmApiError."""
        started, tab = self._clock(), Tab(self._gateway, self._prices)
        for piece in self._tasks[task].stream(tab, self._base(task, wanted, caller, stream=True), wanted):
            if isinstance(piece, str):
                yield StreamEvent("chunk", {"text": piece})
            elif isinstance(piece, StreamEvent):
                yield piece
            else:
                self._count(task, wanted, caller)
                yield StreamEvent("done", self._told(task, piece, tab, caller, started))

    def _count(self, task: str, wanted: Wanted, caller: Caller) -> None:
        if caller.priority == INTERACTIVE and not caller.provider_key:
            self._asked(caller.tenant, task, wanted)

    def preview(self, task: str, wanted: Wanted, caller: Caller) -> Json:
        """Return the answer of a dry run: no output, and an estimate. No model is asked, nothing changes."""
        started, plan = self._clock(), self.plan(task, wanted, caller)
        told = self._told(task, None, Tab(self._gateway, self._prices), caller, started)
        first = plan.calls[0].targets[0]
        return {**told, "model": first.model, "provider": first.provider, "estimate": self._estimate(plan)}

    def plan(self, task: str, wanted: Wanted, caller: Caller) -> Plan:
        """Return the calls a task would make; raises ValidationFailed."""
        return self._tasks[task].plan(self._base(task, wanted, caller), wanted)

    def _estimate(self, plan: Plan) -> Json:
        looks = [self._preview(call) for call in plan.calls]
        worst = looks + [self._preview(longer(call, n + 1)) for call in plan.calls for n in range(plan.repairs)]
        return {
            "input_tokens": sum(look["input_tokens"] for look in looks),
            "input_tokens_bound": sum(look["input_tokens_bound"] for look in worst),
            "output_tokens_bound": sum(look["output_tokens_bound"] for look in worst),
            "calls": len(worst),
            "cost_bound": cost_of(sum((look["cost_bound"] for look in worst), FREE)),
            "would_hit": all(look["would_hit"] for look in looks),
        }

    def _told(self, task: str, output: Json | None, tab: Tab, caller: Caller, started: float) -> Json:
        seconds = self._clock() - started
        return answer_of(task, output, tab, call_id=caller.request_id, seconds=seconds, created=self._now())

    def _base(self, task: str, wanted: Wanted, caller: Caller, stream: bool = False) -> Call:
        usual = self._defaults[task]
        model = wanted.get("model") or self._models.default(caller.tenant, task) or usual.model or task
        stored = self._stored(caller.tenant)
        choice = self._models.resolve(model, own_key=bool(caller.provider_key), stored=stored)
        return Call(
            id=caller.request_id,
            tenant=caller.tenant,
            task=task,
            model=model,
            targets=choice.targets,
            policy=choice.policy,
            lifetime=caller.lifetime or Lifetime(self.timeout(task, caller.limit), self._clock),
            temperature=wanted.get("temperature", usual.temperature),
            max_tokens=wanted.get("max_tokens", usual.max_tokens),
            top_p=wanted.get("top_p"),
            stop=tuple(wanted.get("stop", ())),
            seed=wanted.get("seed"),
            cache=wished(wanted["cache"], usual.cache) if "cache" in wanted else usual.cache,
            stream=stream,
            provider_key=caller.provider_key,
            again=caller.again,
            sending=caller.sending,
            refused=caller.refused,
            payer=caller.payer,
            batch=caller.batch,
            priority=caller.priority,
        )


def wished(said: Wanted, usual: CacheWish) -> CacheWish:
    """Return what a request says of the cache; where it is silent, what its task does."""
    return replace(usual, **{**said, "tags": tuple(said.get("tags", ()))})


def longer(call: Call, repairs: int) -> Call:
    """Return a stand-in for a call's repair: the question with its answers and complaints at their longest."""
    said = (Message("assistant", "." * call.max_tokens), Message("user", "." * LONGEST_COMPLAINT))
    return replace(call, messages=call.messages + said * repairs)
