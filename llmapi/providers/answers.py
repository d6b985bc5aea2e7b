"""Between our words and LangChain's: messages in, chunks out, and what counts as an answer.

Vendors report a blocked prompt, a blocked answer and an empty one as a success; here they become errors that keep what
was billed. The same rules hold for a plain answer and for a stream.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from llmapi.core.calls import NOTHING, Call, Chunk, Facts, Finish, TokenLogprobs, Usage
from llmapi.core.errors import LlmApiError, ProviderBroken, ProviderInvalid, ProviderRefused
from llmapi.core.reply import Reply
from llmapi.providers.exchange import Exchange, during, stepping
from llmapi.providers.failures import our_errors

KEPT = 65_536  # bytes of a plain answer an exchange remembers for `lost_usage`
MOST_TOKENS = 100_000_000  # of one answer; a larger count is an error of the vendor's

FINISHES: Mapping[str, Finish] = {"stop": "stop", "length": "length", "max_tokens": "length"}
BLOCKS = frozenset(
    "safety recitation blocklist prohibited_content spii image_safety content_filter language".split()
)


def langchain_messages(call: Call) -> list[Any]:
    """Return a call's messages as LangChain's."""
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    kinds: Mapping[str, Any] = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
    return [kinds[message.role](message.text) for message in call.messages]


def said_whole(chat: Any, call: Call, knobs: Mapping[str, Any]) -> Any:
    """Return the message that answers a call.

    Through the methods that every LangChain chat model implements, not through `invoke` and `stream` around them: what
    these add (callbacks, tracing, a description of the model) is a fifth of a call's CPU, and would send prompts to
    wherever a LANGSMITH_… variable points.
    """
    result = chat._generate(langchain_messages(call), **knobs)
    return with_facts(result.generations[0], result.llm_output)


def said_streamed(chat: Any, call: Call, knobs: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the messages of a streamed answer, as `said_whole`; closing it closes the vendor's stream."""
    with closing(chat._stream(langchain_messages(call), **knobs)) as parts:
        for part in parts:
            yield with_facts(part, None)


def with_facts(generation: Any, output: Mapping[str, Any] | None) -> Any:
    """Return a generation's message with all that was told about it, as LangChain's `invoke` puts it together."""
    message = generation.message
    told = {**(output or {}), **(generation.generation_info or {})}
    message.response_metadata = {**told, **message.response_metadata}
    return message


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
            part = Part.of(message)
            part.refuse_blocked()
            if not part.text.strip():
                nothing_said(part.finish, call)
    except LlmApiError as error:
        error.usage = usage or lost_usage(exchange.body)
        raise
    return Chunk(part.text, usage or NOTHING, finish_of(part.finish), part.logprobs)


def lost_usage(body: bytes) -> Usage:
    """Return the usage of an answer without a word from its own bytes: LangChain drops it although it is billed."""
    try:
        found = json.loads(body)
        usage = found.get("usageMetadata") or found.get("usage") or {}  # Gemini's word, OpenAI's word
        given = usage.get("promptTokenCount", usage.get("prompt_tokens"))
        said = usage.get("candidatesTokenCount", usage.get("completion_tokens"))
        return clean((whole_number(given), whole_number(said), 0, 0))
    except (ValueError, AttributeError):
        return NOTHING


def read_stream(
    parts: Iterator[Any], call: Call, exchange: Exchange, *, cumulative: bool = False
) -> Iterator[Chunk]:
    """Yield a streamed answer's chunks, the first one with text in it; what fails keeps the usage so far.

    cumulative: each report of usage counts from the start, instead of from the one before
    """
    billed = Bill(cumulative)
    try:
        with our_errors(exchange), closing(stepping(exchange, parts)) as steps:
            yield from chunks_of(steps, call, billed)
    except LlmApiError as error:
        error.usage = billed.total
        raise


def chunks_of(parts: Iterable[Any], call: Call, billed: "Bill") -> Iterator[Chunk]:
    held, begun, finish, blocked = NO_CHUNK, False, "", None
    for message in parts:
        part = Part.of(message)
        finish = part.finish or finish
        blocked = part if part.blocked else blocked
        held = held_with(held, part, billed.more(counted(message)))
        begun = begun or bool(held.text.strip())
        if begun and not blocked and held != NO_CHUNK:
            yield held
            held = NO_CHUNK
    if blocked:  # told only now, for the usage comes last
        blocked.refuse_blocked()
    if not finish:
        raise ProviderBroken("The provider's stream ended in the middle of the answer.")
    if not begun:
        nothing_said(finish, call)
    yield replace(held, finish=finish_of(finish))


NO_CHUNK = Chunk()


def held_with(held: Chunk, part: "Part", usage: Usage) -> Chunk:
    return Chunk(held.text + part.text, held.usage + usage, None, held.logprobs + part.logprobs)


@dataclass(frozen=True, slots=True)
class Part:
    """What we read of a LangChain message or chunk of one."""

    text: str
    finish: str  # the vendor's word in lower case, "" while it goes on
    blocked: bool
    logprobs: tuple[TokenLogprobs, ...]

    @classmethod
    def of(cls, message: Any) -> "Part":
        facts: Mapping[str, Any] = message.response_metadata
        finish = str(facts.get("finish_reason") or "").lower()
        feedback = facts.get("prompt_feedback") or {}
        refusal = message.additional_kwargs.get("refusal")
        blocked = bool(finish in BLOCKS or feedback.get("block_reason") or refusal)
        return cls(str(message.text), finish, blocked, read_logprobs(facts.get("logprobs")))

    def refuse_blocked(self) -> None:
        if self.blocked:
            raise ProviderRefused("The provider blocked the prompt or the answer for its content.")


def nothing_said(finish: str, call: Call) -> NoReturn:
    """Raise what an answer without text means."""
    if finish_of(finish) == "length":
        raise ProviderInvalid(
            f"The model used all {call.max_tokens} tokens before it said anything; raise max_tokens.",
            max_tokens=call.max_tokens,
        )
    raise ProviderBroken("The provider's answer is empty.")


def finish_of(word: str) -> Finish:
    return FINISHES.get(word, "other")


def read_logprobs(found: Any) -> tuple[TokenLogprobs, ...]:
    """Return log probabilities in OpenAI's format as ours; rows without a finite number are left out."""
    if not isinstance(found, Mapping):
        return ()
    return tuple(
        TokenLogprobs(str(row.get("token", "")), float(row["logprob"]), tops(row.get("top_logprobs")))
        for row in found.get("content") or ()
        if is_finite(row.get("logprob"))
    )


def tops(rows: Any) -> tuple[tuple[str, float], ...]:
    return tuple((str(row["token"]), float(row["logprob"])) for row in rows or () if is_finite(row.get("logprob")))


def is_finite(number: Any) -> bool:
    return isinstance(number, int | float) and math.isfinite(number)


class Bill:
    """The usage of a stream, summed from what it reports on its way; each step tells what came new."""

    def __init__(self, cumulative: bool) -> None:
        self.total = NOTHING
        self._cumulative = cumulative
        self._raw = (0, 0, 0, 0)

    def more(self, counts: tuple[int, int, int, int] | None) -> Usage:
        """Take one report; returns what it adds, which may be negative: Gemini takes back what it counted too much."""
        if counts is None:
            return NOTHING
        old = (0, 0, 0, 0) if self._cumulative else self._raw
        self._raw = tuple(map(sum, zip(old, counts, strict=True)))  # type: ignore[assignment]
        before, self.total = self.total, clean(self._raw)
        return Usage(
            self.total.input_tokens - before.input_tokens,
            self.total.output_tokens - before.output_tokens,
            self.total.cached_tokens - before.cached_tokens,
            self.total.reasoning_tokens - before.reasoning_tokens,
        )


def counted(message: Any) -> tuple[int, int, int, int] | None:
    """Return input, output, cached and reasoning tokens as a message reports them, or None."""
    usage = getattr(message, "usage_metadata", None)
    if not usage:
        return None
    return (
        whole_number(usage.get("input_tokens")),
        whole_number(usage.get("output_tokens")),
        detail(usage.get("input_token_details"), "cache_read"),
        detail(usage.get("output_token_details"), "reasoning"),
    )


def detail(rows: Any, name: str) -> int:
    """Return a detail whatever service tier its name begins with, e.g. "flex_cache_read"."""
    return sum(whole_number(count) for key, count in (rows or {}).items() if key.endswith(name))


def whole_number(count: Any) -> int:
    """Return a token count as an int, 0 for what cannot be one."""
    if isinstance(count, bool) or not is_finite(count) or abs(count) > MOST_TOKENS:
        return 0
    return int(count)


def clean(counts: tuple[int, int, int, int]) -> Usage:
    """Return counts as a usage that makes sense: nothing negative, no part larger than its whole."""
    given, said, cached, thought = (max(0, count) for count in counts)
    return Usage(given, said, min(cached, given), min(thought, said))


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
