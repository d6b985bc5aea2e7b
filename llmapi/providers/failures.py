"""What a failure of a vendor's library means: one classifier for all of them.

Types are told by name, for the library that defines them may not be loaded, and must not be because of an error.
What is shown is ours: a status, a short code of the vendor's, never its text, an address or a key.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from llmapi.core.clock import utc_now
from llmapi.core.errors import ContextTooLong, LlmApiError, ProviderBroken, ProviderInvalid, ProviderQuotaSpent
from llmapi.core.errors import ProviderRefused, ProviderThrottled, ProviderTimeout, ProviderUnavailable
from llmapi.providers.exchange import Exchange

LONGEST_WAIT = 86_400.0  # seconds a vendor can ask for
DEPTH = 12  # errors of a chain that are looked at

TIMEOUTS = frozenset({"TimeoutException", "APITimeoutError", "ModelTimeoutError", "TimeoutError"})
NETWORK = frozenset({"TransportError", "APIConnectionError", "ModelConnectionError", "ConnectionError"})
REFUSALS = frozenset({"OpenAIRefusalError", "ContentFilterFinishReasonError"})
TOO_LONG = frozenset({"ContextOverflowError"})
# JSONDecodeError and pydantic's are ValueErrors; a RecursionError is JSON nested too deeply.
MALFORMED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)

CONTEXT = re.compile(
    r"context[_ ](length|window|size)|maximum context|exceeds the (maximum number of tokens|context)"
    r"|input token count|token limit|context limit|prompt is too long|too many tokens|input is too long",
    re.I,
)
BLOCKED = re.compile(r"content[_ ](filter|policy)|moderation|responsible_?ai|safety system", re.I)
SPENT = re.compile(r"insufficient_quota|billing_hard_limit|insufficient balance|PerDay|spend_limit", re.I)
NO_MONEY = re.compile(r"credit balance is too low|specified API usage limits", re.I)  # Anthropic's, with a 400
BAD_KEY = re.compile(r"API_KEY_INVALID|api key not valid|invalid_api_key", re.I)
# The statuses of Anthropic's kinds of error, for those that come as an event of a stream.
KINDS: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
LIMITS = ("requests", "tokens", "input-tokens", "output-tokens")  # what Anthropic's headers count
DIGITS = re.compile(r"[0-9]{3}")
SHORT_CODE = re.compile(r"^[A-Za-z][A-Za-z_]{2,49}$")


@dataclass(frozen=True, slots=True)
class Said:
    """What is known of an error answer."""

    status: int
    code: str  # the vendor's short word for it, or ""
    text: str  # everything it said; for looking at, never for showing
    wait: float | None  # seconds it asked us to wait

    def matches(self, pattern: re.Pattern[str]) -> bool:
        return pattern.search(self.text) is not None

    def error(self, kind: type[LlmApiError], message: str, *, retry_after: float | None = None) -> LlmApiError:
        """Return an error of ours that tells the two facts a caller may know."""
        facts: dict[str, Any] = {"provider_status": self.status} if self.status else {}
        if self.code:
            facts["provider_code"] = self.code
        return kind(message, retry_after=retry_after, **facts)


@contextmanager
def our_errors(exchange: Exchange | None = None) -> Iterator[None]:
    """Turn whatever a vendor's library raises into an error of ours, which keeps it as its cause."""
    try:
        yield
    except Exception as error:
        found = classify(error, asked=exchange is None or exchange.asked)
        if found is error:
            raise
        raise found from error


def classify(error: BaseException, now: Callable[[], datetime] = utc_now, *, asked: bool = True) -> LlmApiError:
    """Return the error of ours that a vendor's error stands for; one of ours within it is returned itself.

    asked: whether the vendor was asked at all, or its library did not even take the question
    """
    chain = list(causes(error))
    ours = next((each for each in chain if isinstance(each, LlmApiError)), None)
    if ours is not None:
        return ours
    said = next((found for each in chain if (found := heard(each, now)) is not None), None)
    names = {kind.__name__ for each in chain for kind in type(each).__mro__}
    if names & TOO_LONG:
        return ContextTooLong("The prompt does not fit the model's context.")
    if said is not None:
        return by_status(said)
    if not asked:
        return ProviderInvalid("The request cannot be put in the provider's words.")
    return by_type(chain, names)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what led to it, nearest first."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting and len(seen) < DEPTH:
        each = waiting.pop(0)
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [each.__cause__, None if each.__suppress_context__ else each.__context__]


def by_status(said: Said) -> LlmApiError:
    """Return what an error answer means."""
    if said.status in (402, 429) or said.matches(NO_MONEY):
        return throttled(said)
    if said.status == 408:
        return said.error(ProviderTimeout, "The provider gave up on the request.")
    if said.status >= 500 or said.status == 499:
        return said.error(ProviderUnavailable, "The provider failed.", retry_after=said.wait)
    return rejected(said)


def throttled(said: Said) -> LlmApiError:
    if said.status != 429 or said.matches(SPENT):
        return said.error(ProviderQuotaSpent, "The quota at the provider is spent.", retry_after=said.wait)
    return said.error(ProviderThrottled, "The provider asks us to slow down.", retry_after=said.wait)


def rejected(said: Said) -> LlmApiError:
    if said.status in (400, 413, 422) and said.matches(CONTEXT):
        return said.error(ContextTooLong, "The prompt does not fit the model's context.")
    if said.status in (400, 403) and said.matches(BLOCKED):
        return said.error(ProviderRefused, "The provider blocked the prompt for its content.")
    if said.status == 401 or said.matches(BAD_KEY):
        return replace(said, status=401).error(ProviderInvalid, "The provider does not accept the configured key.")
    if said.status == 403:
        return said.error(ProviderInvalid, "The configured key may not use this model.")
    if said.status == 404:
        return said.error(ProviderInvalid, "The provider does not know this model.")
    return said.error(ProviderInvalid, "The provider rejected the request.")


def by_type(chain: list[BaseException], names: set[str]) -> LlmApiError:
    """Return what an error means that no answer came with."""
    if names & REFUSALS:
        return ProviderRefused("The provider blocked the answer for its content.")
    if names & TIMEOUTS:
        return ProviderTimeout("The provider did not answer in time.")
    if names & NETWORK:
        return ProviderUnavailable("The provider cannot be reached.")
    if any(isinstance(each, MALFORMED) for each in chain):
        return ProviderBroken("The provider's answer is malformed.")
    return ProviderInvalid("The provider's answer could not be understood.")


def heard(error: BaseException, now: Callable[[], datetime]) -> Said | None:
    """Return what an error answer said, if this error carries one: of any vendor's library, or an error in a 200."""
    body = body_of(error)
    inner = body.get("error", body) if isinstance(body, Mapping) else {}
    status = first_status(getattr(error, "status_code", None), getattr(error, "code", None), inner)
    if status is None and not is_api_error(error, inner):
        return None
    text = " ".join([str(error), json.dumps(body, default=str) if body else ""])[:20_000]
    wait = asked_wait(inner, getattr(getattr(error, "response", None), "headers", None), now)
    return Said(status or guessed_status(text), short_code(inner), text, wait)


def body_of(error: BaseException) -> Any:
    """Return the JSON or the text of an error answer as google-genai, openai or anthropic keep it, or None."""
    if isinstance(error, ValueError) and error.args and isinstance(error.args[0], Mapping):
        return error.args[0]  # OpenAI's format: {"error": …} with status 200
    details = getattr(error, "details", None)
    return details if details and isinstance(details, Mapping | list) else getattr(error, "body", None)


def first_status(status_code: Any, code: Any, inner: Any) -> int | None:
    """Return the status of an error; an error inside a success has one only in its own words."""
    within, kind = (inner.get("code"), inner.get("type")) if isinstance(inner, Mapping) else (None, None)
    named = KINDS.get(kind) if isinstance(kind, str) else None
    for each in (status_code, code, within, named):
        number = int(each) if isinstance(each, str) and DIGITS.fullmatch(each) else each
        if isinstance(number, int) and 300 <= number <= 599:
            return number
    return None


def is_api_error(error: BaseException, inner: Any) -> bool:
    """Say whether this is an error in OpenAI's format that came with status 200, which may carry no other."""
    named = isinstance(error, ValueError) or any(kind.__name__ == "APIError" for kind in type(error).__mro__)
    return named and isinstance(inner, Mapping) and bool(inner)


def guessed_status(text: str) -> int:
    if re.search(r"rate_limit|insufficient_quota", text):
        return 429
    return 400 if re.search(r"invalid_request|content_filter", text) or CONTEXT.search(text) else 500


def short_code(inner: Any) -> str:
    """Return the vendor's word for an error, e.g. RESOURCE_EXHAUSTED or insufficient_quota, if it is harmless."""
    if not isinstance(inner, Mapping):
        return ""
    for name in ("status", "code", "type"):
        word = inner.get(name)
        if isinstance(word, str) and SHORT_CODE.match(word):
            return word
    return ""


def asked_wait(inner: Any, headers: Any, now: Callable[[], datetime]) -> float | None:
    """Return the seconds an answer asks us to wait: Google's RetryInfo, else the Retry-After header."""
    details = inner.get("details") if isinstance(inner, Mapping) else None
    for each in details if isinstance(details, list) else ():
        if isinstance(each, Mapping) and str(each.get("@type", "")).endswith("RetryInfo"):
            if (wait := seconds(str(each.get("retryDelay", "")).removesuffix("s"))) is not None:
                return wait
    if not isinstance(headers, Mapping):
        return None
    if (thousandths := seconds(headers.get("retry-after-ms"))) is not None:
        return thousandths / 1000
    if (wait := retry_after(headers.get("retry-after"), now)) is not None:
        return wait
    return anthropic_wait(headers, now)


def anthropic_wait(headers: Mapping[str, str], now: Callable[[], datetime]) -> float | None:
    """Return the seconds until the last of Anthropic's spent limits is full again, or None when none is told."""
    waits = []
    for limit in LIMITS:
        name = f"anthropic-ratelimit-{limit}"
        with suppress(ValueError, TypeError, OverflowError):
            if int(headers.get(f"{name}-remaining", "")) <= 0:
                when = datetime.fromisoformat(headers.get(f"{name}-reset", ""))
                waits.append((when - now()).total_seconds())
    return min(LONGEST_WAIT, max(0.0, *waits)) if waits else None


def retry_after(value: str | None, now: Callable[[], datetime] = utc_now) -> float | None:
    """Return a Retry-After header (RFC 9110: seconds or a date) as seconds from now, or None."""
    if value is None or (wait := seconds(value)) is not None:
        return None if value is None else wait
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return min(LONGEST_WAIT, max(0.0, (when - now()).total_seconds()))


def seconds(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return min(LONGEST_WAIT, max(0.0, number)) if math.isfinite(number) else None
