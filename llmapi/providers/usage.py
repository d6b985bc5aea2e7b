"""What an answer is billed for, as a vendor reports it: read with distrust, for vendors miscount."""

import json
import math
from typing import Any

from llmapi.core.calls import NOTHING, Usage

MOST_TOKENS = 100_000_000  # of one answer; a larger count is an error of the vendor's


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


def lost_usage(body: bytes) -> Usage:
    """Return the usage of an answer without a word from its own bytes: LangChain drops it although it is billed."""
    try:
        found = json.loads(body)
        usage = found.get("usageMetadata") or found.get("usage") or {}  # Gemini's word, the others' word
        given = usage.get("promptTokenCount", usage.get("prompt_tokens", usage.get("input_tokens")))
        said = usage.get("candidatesTokenCount", usage.get("completion_tokens", usage.get("output_tokens")))
        return clean((whole_number(given), whole_number(said), 0, 0))
    except (ValueError, AttributeError, RecursionError):
        return NOTHING


def whole_number(count: Any) -> int:
    """Return a token count as an int, 0 for what cannot be one."""
    if isinstance(count, bool) or not is_finite(count) or abs(count) > MOST_TOKENS:
        return 0
    return int(count)


def is_finite(number: Any) -> bool:
    if isinstance(number, float):
        return math.isfinite(number)
    return isinstance(number, int) and number.bit_length() < 1000  # beyond, it is no float


def clean(counts: tuple[int, int, int, int]) -> Usage:
    """Return counts as a usage that makes sense: nothing negative, no part larger than its whole."""
    given, said, cached, thought = (max(0, count) for count in counts)
    return Usage(given, said, min(cached, given), min(thought, said))
