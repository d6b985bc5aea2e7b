"""The Protocols through which the subject rooms meet; bootstrap hands the parts over."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from llmapi.core.calls import Call, Choice, Completion, Target, Usage
from llmapi.core.kept import KNOWN_NOTHING, About, Mark
from llmapi.core.money import Cost
from llmapi.core.reply import Reply


class Provider(Protocol):
    """One vendor, or the embedded model."""

    name: str

    def start(self) -> None:
        """Do beforehand what the first call would wait for; raises ProviderUnavailable. Need not be called."""
        ...

    def ask(self, call: Call) -> Reply:
        """Ask `call.target` once and return with the first chunk in hand; raises ProviderError.

        A call with `inputs` is an embedding call: its one chunk carries `vectors`, one per input, of length 1.
        """
        ...

    def health(self) -> Mapping[str, Any]:
        """Return {"status": "ok|degraded|down|unknown", …} from what is already known; asks nobody, never raises."""
        ...

    def close(self) -> None:
        """Give back sockets, threads and processes."""
        ...


class Models(Protocol):
    """Which model a name stands for."""

    def resolve(self, name: str, *, own_key: bool = False, stored: Collection[str] = ()) -> Choice:
        """Return what a model name or alias stands for; raises ValidationFailed naming `model`.

        own_key: the caller brings a key, which only the first candidate's vendor may see
        stored: vendors the caller's tenant has keys for, which can be asked beside those the operator has keys for
        """
        ...

    def default(self, tenant: str, task: str) -> str:
        """Return the alias a tenant's task uses when neither caller nor settings name a model; "" if none is set."""
        ...

    def listing(self) -> list[dict[str, Any]]:
        """Return one JSON row per alias and per known model: id, kind, provider, abilities, context, description."""
        ...


class KeptAnswer(Protocol):
    """An answer taken from a cache."""

    @property
    def completion(self) -> Completion: ...
    @property
    def provider(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def age(self) -> float: ...  # seconds since it was kept
    @property
    def ttl(self) -> float: ...  # seconds it is good in all
    @property
    def about(self) -> About: ...


class AnswerCache(Protocol):
    """Whole answers by key (`tenant:digest`): bounded, thread-safe, each gone after its time to live.

    A cache that is shared asks a server within narrow time limits, and does without it while it is away: nothing here
    raises for that.
    """

    @property
    def leases(self) -> Any:
        """Return what says which process asks (cache/leases.py); None where only this one keeps answers."""
        ...

    def start(self) -> None:
        """Start what a fork cannot carry."""
        ...

    def close(self) -> None:
        """Give threads and sockets back."""
        ...

    def get(self, key: str, *, stale: bool = False) -> KeptAnswer | None:
        """Return a kept answer; with `stale` also one whose time is over, as long as it is kept for such callers."""
        ...

    def put(
        self,
        key: str,
        completion: Completion,
        *,
        provider: str,
        model: str,
        ttl: float | None = None,
        about: About = KNOWN_NOTHING,
    ) -> None:
        """Keep an answer for `ttl` seconds, at most the cache's own; it replaces what the key had."""
        ...

    def drop(self, keys: Iterable[str]) -> int:
        """Delete answers by key, here and on the server; returns how many were found."""
        ...

    def mark(self, marks: Iterable[Mark]) -> None:
        """Serve nothing from now on that a mark means; the same mark may come again."""
        ...

    def stats(self) -> Mapping[str, int]:
        """Return {"entries", "capacity", "evictions", "bytes"} and what else is counted, as ints."""
        ...

    def health(self) -> Mapping[str, Any]:
        """Return {"status": "ok|degraded", …} with stats(), from what is already known."""
        ...


class Prices(Protocol):
    """What tokens cost. Must be quick and must not raise: it stands on every call's way."""

    def cost(self, target: Target, usage: Usage) -> Cost: ...


class Sink(Protocol):
    """Somebody who listens to events (events/bus.py)."""

    def __call__(self, event: Any) -> None: ...


class Bus(Protocol):
    """Tells every sink what happened; a sink that fails breaks nothing."""

    def tell(self, event: Any) -> None: ...


class Later(Protocol):
    """Runs work later: on threads of this process now, on other engines when there are some."""

    def put(
        self, kind: str, arguments: Mapping[str, Any], *, tenant: str, request_id: str = "", priority: int = 5
    ) -> str:
        """Return the new job's id; `arguments` must survive JSON, for a job may run elsewhere or after a restart."""
        ...


class Outbox(Protocol):
    """Takes what tenants are to be told, in the transaction that makes it true: both are kept, or neither."""

    def add(self, connection: Any, tenant: str, kind: str, data: Mapping[str, Any]) -> None:
        """Keep a notice, such as a "job.succeeded"; sends nothing."""
        ...


class Embedder(Protocol):
    """Turns texts into vectors of length 1."""

    def embed(self, texts: Sequence[str]) -> list[tuple[float, ...]]: ...
