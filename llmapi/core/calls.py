"""One call on its way through the house, and the reply that comes back.

A reply is always a stream; a plain answer is a stream of one chunk, so every stage serves both.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from llmapi.core.lifetime import Lifetime

Role = Literal["system", "user", "assistant"]
Finish = Literal["stop", "length", "other"]
CacheMode = Literal["use", "refresh", "bypass", "only"]
CacheStatus = Literal["miss", "hit", "semantic", "coalesced", "bypass"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    text: str


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


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer: the sum of its chunks. This, as plain JSON values, is what caches and jobs keep."""

    text: str = ""
    usage: Usage = NOTHING
    finish: Finish = "other"
    logprobs: tuple[TokenLogprobs, ...] = ()
    vectors: tuple[tuple[float, ...], ...] = ()

    def chunk(self) -> Chunk:
        """Return the whole answer as one chunk."""
        return Chunk(self.text, self.usage, self.finish, self.logprobs, self.vectors)


def whole(chunks: list[Chunk]) -> Completion:
    """Return the sum of an answer's chunks."""
    if len(chunks) == 1:
        only = chunks[0]
        return Completion(only.text, only.usage, only.finish or "other", only.logprobs, only.vectors)
    return Completion(
        "".join(chunk.text for chunk in chunks),
        sum((chunk.usage for chunk in chunks), NOTHING),
        next((chunk.finish for chunk in reversed(chunks) if chunk.finish), "other"),
        tuple(token for chunk in chunks for token in chunk.logprobs),
        tuple(vector for chunk in chunks for vector in chunk.vectors),
    )


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
class CacheWish:
    """What the caller wants of the cache: RFC 9111's request directives by other names."""

    mode: CacheMode = "use"
    ttl: float | None = None  # seconds to keep this answer, and the oldest age to accept; None: the setting


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at one provider: the `attempts` of an answer."""

    provider: str
    model: str
    status: str  # "ok" or the error's code
    wait: float = 0.0  # seconds slept before it
    usage: Usage = NOTHING  # what it was billed for although it failed; a good attempt's usage is the answer's


def anything(_: Completion) -> bool:
    """Accept every answer."""
    return True


@dataclass(frozen=True, slots=True)
class Call:
    """One question to a model, complete: everything a stage or an adapter may need, and no more.

    `targets` are the candidates, best first; Route puts the one being asked into `target`. `good` says whether an
    answer is worth keeping; it is no part of the question.
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
    ttl: float | None = None  # seconds a kept answer stays good
    attempts: tuple[Attempt, ...] = ()
    provider_time: float = 0.0  # seconds spent waiting for providers


class Reply:
    """An answer as a stream of chunks, once, with two endings that stages may ask to be told of.

    *completed*: the whole answer came. *ended*: always and exactly once, with the error if there was one, also when
    the reader leaves early (`close`); the completion it gets is then what had come so far. A reply belongs to one
    thread at a time: who wants to stop a read in another thread ends the call's lifetime.
    """

    def __init__(self, chunks: Iterator[Chunk], facts: Facts) -> None:
        self.facts = facts
        self.completed = False
        self._chunks = chunks
        self._seen: list[Chunk] = []
        self._on_complete: list[Callable[[Completion], None]] = []
        self._on_end: list[Callable[[Completion, BaseException | None], None]] = []
        self._over = False

    @classmethod
    def of(cls, completion: Completion, facts: Facts) -> "Reply":
        """Return a reply whose answer is already whole."""
        return cls(iter([completion.chunk()]), facts)

    def told(self, **facts: Any) -> "Reply":
        """Add to what is known about this reply; returns the same reply."""
        self.facts = replace(self.facts, **facts)
        return self

    def when_complete(self, tell: Callable[[Completion], None]) -> "Reply":
        """Call `tell` with the whole answer, only if it came whole; returns the same reply."""
        self._on_complete.append(tell)
        return self

    def when_ended(self, tell: Callable[[Completion, BaseException | None], None]) -> "Reply":
        """Call `tell` once at the end, however it comes; returns the same reply."""
        self._on_end.append(tell)
        return self

    def __iter__(self) -> Iterator[Chunk]:
        if self._over:
            return
        try:
            for chunk in self._chunks:
                self._seen.append(chunk)
                yield chunk
            self._complete()
        except GeneratorExit:
            self._end(None)
            raise
        except BaseException as error:
            self._end(error)
            raise
        self._end(None)

    def completion(self) -> Completion:
        """Read to the end and return the whole answer."""
        for _ in self:
            pass
        return whole(self._seen)

    def close(self) -> None:
        """Leave early: the source is closed, the ending is told."""
        self._end(None)

    def _complete(self) -> None:
        if self._over:
            return  # closed while it was read: half an answer must not be told as a whole one
        self.completed = True
        answer = whole(self._seen)
        for tell in self._on_complete:
            tell(answer)

    def _end(self, error: BaseException | None) -> None:
        if self._over:
            return
        self._over = True
        close = getattr(self._chunks, "close", None)
        try:
            if close is not None and error is None:
                close()
        finally:
            listeners, self._on_end, self._on_complete = self._on_end, [], []  # they refer back here: let both go
            for tell in listeners:
                tell(whole(self._seen), error)


Handler = Callable[[Call], Reply]
