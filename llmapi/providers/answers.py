"""From LangChain's words into ours: what counts as an answer, and the chunks it is made of.

Vendors report a blocked prompt, a blocked answer and an empty one as a success; here they become errors that keep what
was billed. The same rules hold for a plain answer and for a stream.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from llmapi.core.calls import NOTHING, Call, Chunk, Facts, Finish, TokenLogprobs, ToolCall, Usage
from llmapi.core.errors import LlmApiError, ProviderBroken, ProviderInvalid, ProviderRefused
from llmapi.core.reply import Reply
from llmapi.providers.exchange import Exchange, during, stepping
from llmapi.providers.failures import our_errors
from llmapi.providers.readable import readable
from llmapi.providers.tool_calls import CallPieces, whole_calls
from llmapi.providers.usage import Bill, clean, counted, is_finite, lost_usage

KEPT = 65_536  # bytes of a plain answer an exchange remembers for `lost_usage`

FINISHES: Mapping[str, Finish] = {"stop": "stop", "length": "length", "max_tokens": "length"}
CALLING = frozenset({"stop", "tool_calls", "tool_use"})  # how an answer ends that wants tools called
BLOCKS = frozenset(
    "safety recitation blocklist prohibited_content spii image_safety content_filter language".split()
)


def model_of(call: Call) -> str:
    """Return the name of the model to ask."""
    if call.target is None:
        raise ProviderInvalid("The call names no model to ask.")
    return call.target.model


def read_whole(ask: Callable[[], Any], call: Call, exchange: Exchange) -> Chunk:
    """Ask for a plain answer and return it as one chunk; raises ProviderError with what was billed."""
    usage: Usage | None = None
    try:
        with our_errors(exchange):
            with during(exchange):
                message = ask()
            counts = counted(message)
            usage = None if counts is None else clean(counts)
            part = Part.of(message, whole_calls(message))
            part.refuse_blocked()
            if not part.says:
                nothing_said(part.finish, call)
    except LlmApiError as error:
        error.usage = usage or lost_usage(exchange.body)
        raise
    finish = finish_of(part.finish, bool(part.calls))
    return Chunk(part.text, usage or NOTHING, finish, part.logprobs, tool_calls=part.calls)


def read_stream(
    parts: Iterator[Any], call: Call, exchange: Exchange, *, cumulative: bool = False
) -> Iterator[Chunk]:
    """Yield a streamed answer's chunks, the first one with words or a tool's call in it; a failure keeps the usage.

    cumulative: each report of usage counts from the start, instead of from the one before
    """
    billed = Bill(cumulative)
    try:
        with our_errors(exchange), closing(stepping(exchange, parts)) as steps:
            yield from chunks_of(steps, call, billed)
    except LlmApiError as error:
        error.usage = billed.total
        raise


def chunks_of(messages: Iterable[Any], call: Call, billed: Bill) -> Iterator[Chunk]:
    said, held = Said(), NO_CHUNK
    for message in messages:
        held = held_with(held, said.part(message), billed.more(counted(message)))
        said.begun = said.begun or bool(held.text.strip() or held.tool_calls)
        if said.begun and not said.blocked and held != NO_CHUNK:
            yield held
            held = NO_CHUNK
    if said.blocked:  # told only now, for the usage comes last
        said.blocked.refuse_blocked()
    if not said.finish:
        raise ProviderBroken("The provider's stream ended in the middle of the answer.")
    if not said.begun:
        nothing_said(said.finish, call)
    yield replace(held, finish=finish_of(said.finish, said.calls.any()))


NO_CHUNK = Chunk()


def held_with(held: Chunk, part: "Part", usage: Usage) -> Chunk:
    return Chunk(
        held.text + part.text,
        held.usage + usage,
        None,
        held.logprobs + part.logprobs,
        tool_calls=held.tool_calls + part.calls,
    )


class Said:
    """What is known of a stream from the parts that came so far."""

    def __init__(self) -> None:
        self.begun = False  # it said something that counts
        self.finish = ""
        self.blocked: Part | None = None
        self.calls = CallPieces()

    def part(self, message: Any) -> "Part":
        """Read the next part."""
        part = Part.of(message, self.calls.of(message))
        self.finish = part.finish or self.finish
        self.blocked = part if part.blocked else self.blocked
        return part


@dataclass(frozen=True, slots=True)
class Part:
    """What we read of a LangChain message or chunk of one."""

    text: str
    finish: str  # the vendor's word in lower case, "" while it goes on
    blocked: bool
    logprobs: tuple[TokenLogprobs, ...]
    calls: tuple[ToolCall, ...]

    @classmethod
    def of(cls, message: Any, calls: tuple[ToolCall, ...]) -> "Part":
        facts: Mapping[str, Any] = message.response_metadata
        finish = str(facts.get("finish_reason") or "").lower()
        feedback = facts.get("prompt_feedback") or {}
        refusal = message.additional_kwargs.get("refusal")
        blocked = bool(finish in BLOCKS or feedback.get("block_reason") or refusal)
        return cls(readable(message.text), finish, blocked, read_logprobs(facts.get("logprobs")), calls)

    @property
    def says(self) -> bool:
        """Whether there is anything to hand out."""
        return bool(self.text.strip() or self.calls)

    def refuse_blocked(self) -> None:
        if self.blocked:
            raise ProviderRefused("The provider blocked the prompt or the answer for its content.")


def nothing_said(finish: str, call: Call) -> NoReturn:
    """Raise what an answer means that says nothing and wants no tool called."""
    if finish_of(finish, False) == "length":
        raise ProviderInvalid(
            f"The model used all {call.max_tokens} tokens before it said anything; raise max_tokens.",
            max_tokens=call.max_tokens,
        )
    raise ProviderBroken("The provider's answer is empty.")


def finish_of(word: str, calls: bool) -> Finish:
    """Return why an answer ended; `calls`: it wants tools called, which Gemini ends like any other answer."""
    if calls and word in CALLING:
        return "tool_calls"
    return FINISHES.get(word, "other")


def read_logprobs(found: Any) -> tuple[TokenLogprobs, ...]:
    """Return log probabilities in OpenAI's format as ours; rows without a finite number are left out."""
    if not isinstance(found, Mapping):
        return ()
    return tuple(
        TokenLogprobs(readable(row.get("token", "")), float(row["logprob"]), tops(row.get("top_logprobs")))
        for row in found.get("content") or ()
        if is_finite(row.get("logprob"))
    )


def tops(rows: Any) -> tuple[tuple[str, float], ...]:
    found = (row for row in rows or () if is_finite(row.get("logprob")))
    return tuple((readable(row["token"]), float(row["logprob"])) for row in found)


def unit_vectors(rows: Sequence[Sequence[float]], wanted: int) -> tuple[tuple[float, ...], ...]:
    """Return embeddings with length 1; raises ProviderBroken when they are not one for each text."""
    if len(rows) != wanted or len({len(row) for row in rows}) > 1:
        raise ProviderBroken("The provider did not return one embedding for each text.")
    return tuple(unit(row) for row in rows)


def unit(row: Sequence[float]) -> tuple[float, ...]:
    length = math.hypot(*row)
    if not math.isfinite(length) or length == 0.0:
        raise ProviderBroken("The provider returned an embedding that is no direction.")
    return tuple(number / length for number in row)


class Begun:
    """A stream whose first chunk is already here: the call happened, and failures from here on cannot be retried."""

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        self._chunks = chunks
        self._first: Chunk | None = next(chunks)

    def __iter__(self) -> "Begun":
        return self

    def __next__(self) -> Chunk:
        if (first := self._first) is not None:
            self._first = None
            return first
        return next(self._chunks)

    def close(self) -> None:
        """Close the stream, also when nobody has read of it: a generator that was merely chained would stay open."""
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()


def begun(name: str, call: Call, chunks: Iterator[Chunk]) -> Reply:
    """Return the reply of a provider, with its first chunk in hand."""
    return Reply(Begun(chunks), Facts(provider=name, model=model_of(call)))
