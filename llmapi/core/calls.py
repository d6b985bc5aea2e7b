"""One call on its way through the house, and the pieces its answer is made of."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from llmapi.core.identity import NOBODY, Payer
from llmapi.core.lifetime import Lifetime
from llmapi.core.routing import ORDERED, Policy

Role = Literal["system", "user", "assistant", "tool"]
Finish = Literal["stop", "length", "tool_calls", "other"]
CacheMode = Literal["use", "refresh", "bypass", "only"]
CacheStatus = Literal["miss", "hit", "semantic", "coalesced", "bypass"]
INTERACTIVE: Final = 10  # the priority of a call somebody waits for


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function the model wants called; in a stream a piece of it: pieces of one `index` belong together."""

    index: int = 0
    id: str = ""
    name: str = ""
    arguments: str = ""  # JSON text, as the model wrote it


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. An assistant's may want tools called; a tool's answers one of these calls."""

    role: Role
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function a model may want called; `parameters` is the JSON schema of its arguments."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens. `cached_tokens` are part of the input, `reasoning_tokens` part of the output."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


NOTHING = Usage()


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """One token of an answer with what else the model could have said there: (token, natural log) pairs."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of an answer. Usage comes as deltas: the whole is their sum."""

    text: str = ""
    usage: Usage = NOTHING
    finish: Finish | None = None
    logprobs: tuple[TokenLogprobs, ...] = ()
    vectors: tuple[tuple[float, ...], ...] = ()  # of an embedding call
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer: the sum of its chunks. This, as plain JSON values, is what caches and jobs keep."""

    text: str = ""
    usage: Usage = NOTHING
    finish: Finish = "other"
    logprobs: tuple[TokenLogprobs, ...] = ()
    vectors: tuple[tuple[float, ...], ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()

    def chunk(self) -> Chunk:
        """Return the whole answer as one chunk."""
        return Chunk(self.text, self.usage, self.finish, self.logprobs, self.vectors, self.tool_calls)


def whole(chunks: list[Chunk]) -> Completion:
    """Return the sum of an answer's chunks."""
    if len(chunks) == 1:
        only = chunks[0]
        return Completion(only.text, only.usage, only.finish or "other", only.logprobs, only.vectors, only.tool_calls)
    return Completion(
        "".join(chunk.text for chunk in chunks),
        sum((chunk.usage for chunk in chunks), NOTHING),
        next((chunk.finish for chunk in reversed(chunks) if chunk.finish), "other"),
        tuple(token for chunk in chunks for token in chunk.logprobs),
        tuple(vector for chunk in chunks for vector in chunk.vectors),
        joined(piece for chunk in chunks for piece in chunk.tool_calls),
    )


def joined(pieces: Iterable[ToolCall]) -> tuple[ToolCall, ...]:
    """Return whole tool calls from their pieces, by index."""
    found: dict[int, ToolCall] = {}
    for piece in pieces:
        old = found.get(piece.index, ToolCall(piece.index))
        name, arguments = old.name + piece.name, old.arguments + piece.arguments
        found[piece.index] = ToolCall(piece.index, old.id or piece.id, name, arguments)
    return tuple(found[index] for index in sorted(found))


@dataclass(frozen=True, slots=True)
class Target:
    """A model at a provider, and what it can do (names: catalog.py)."""

    provider: str
    model: str
    abilities: frozenset[str] = frozenset()
    context: int = 0  # tokens it takes in, 0 when unknown

    def can(self, ability: str) -> bool:
        return ability in self.abilities


@dataclass(frozen=True, slots=True)
class Choice:
    """What a model's name stands for: the candidates in the order they are written, and the rules among them."""

    targets: tuple[Target, ...]
    policy: Policy = ORDERED


@dataclass(frozen=True, slots=True)
class CacheWish:
    """What the caller wants of the cache: RFC 9111's request directives by other names."""

    mode: CacheMode = "use"
    ttl: float | None = None  # seconds to keep this answer, and the oldest age to accept; None: the setting
    max_error: float | None = None  # share of wrong answers accepted by meaning; 0: exact only; None: the setting
    stale_while_revalidate: float = 0.0  # seconds past its time an answer is taken at once, and renewed behind it
    stale_if_error: float = 0.0  # seconds past its time an answer is taken when no provider gives a new one
    tags: tuple[str, ...] = ()  # the caller's own words, under which its answers can be invalidated


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at one provider: the `attempts` of an answer."""

    provider: str
    model: str
    status: str  # "ok" or the error's code
    wait: float = 0.0  # seconds slept before it
    usage: Usage = NOTHING  # what it was billed for although it failed; a good attempt's usage is the answer's
    own_key: bool = False  # made with the caller's own key, or its tenant's: the operator pays nothing for it


def anything(_: Completion) -> bool:
    """Accept every answer."""
    return True


def nothing(*_: object) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Call:
    """One question to a model, complete: everything a stage or an adapter may need, and no more.

    `targets` are the candidates, best first; Route puts the one being asked into `target`. `good` says whether an
    answer is worth keeping; it is no part of the question. `sending` is called before each asking of a provider, which
    it forbids by raising; `refused` with the failure of one that brought no answer. `entry` names this passage through
    the gateway, of which a request may have several; what it costs is booked under it.
    """

    id: str
    tenant: str
    task: str
    model: str  # as the caller named it: a model, an alias, or the task's default
    targets: tuple[Target, ...]
    lifetime: Lifetime
    messages: tuple[Message, ...] = ()
    inputs: tuple[str, ...] = ()  # texts to embed; such a call has no messages
    temperature: float | None = None
    max_tokens: int = 256
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    schema: Mapping[str, Any] | None = None  # JSON schema the answer must follow
    logprobs: int = 0  # alternatives wanted per token
    sample: int = 0  # which of several independent samples of the same question
    stream: bool = False
    cache: CacheWish = CacheWish()
    good: Callable[[Completion], bool] = anything
    target: Target | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: str = ""  # auto, none, required, or a tool's name; "": the provider's default
    policy: Policy = ORDERED
    provider_key: str = field(default="", repr=False)  # the caller's own key; below Route its tenant's stored one too
    again: bool = False  # a client's library repeats a call whose answer it lost: join it rather than pay twice
    sending: Callable[[], None] = nothing
    refused: Callable[[Any], None] = nothing
    payer: Payer = NOBODY
    batch: bool = False  # it may wait: a line of a batch
    entry: str = ""
    priority: int = INTERACTIVE  # who goes first where calls must wait; a job's is 0 to 9

    def at(self, target: Target) -> "Call":
        """Return this call addressed to one candidate."""
        return replace(self, target=target)


@dataclass(frozen=True, slots=True)
class Facts:
    """What became known about a reply on its way out."""

    provider: str = ""
    model: str = ""
    cache: CacheStatus = "miss"
    age: float | None = None  # seconds a kept answer is old
    ttl: float | None = None  # seconds a kept answer stays good; below 0: it is stale
    attempts: tuple[Attempt, ...] = ()
    provider_time: float = 0.0  # seconds spent waiting for providers
    similarity: float | None = None  # by meaning: cosine to the kept question
    probability: float | None = None  # by meaning: that the kept answer is right
    kept: str = ""  # by meaning: the id of the kept question served from
    reason: str = ""  # by meaning: why it was served, or not
    landed: Literal["", "kept", "lost"] = ""  # kept where all processes find it; lost: another has asked meanwhile

    @property
    def own_key(self) -> bool:
        """Say whether providers were asked, and with no key of the operator's."""
        return bool(self.attempts) and all(attempt.own_key for attempt in self.attempts)
