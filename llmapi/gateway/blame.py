"""What a failure says about the provider, and what about this one call alone."""

from typing import Literal

from llmapi.core.calls import Call
from llmapi.core.errors import (
    CircuitOpen,
    LlmApiError,
    Overloaded,
    ProviderBroken,
    ProviderError,
    ProviderQuotaSpent,
    ProviderThrottled,
    ProviderTimeout,
    ProviderUnavailable,
)

Verdict = Literal["good", "bad", "neutral", "unsent"]

PATIENCE = 1.0  # seconds a provider has had at least before its silence is held against it
KEY_REFUSED = frozenset({401, 403})
BUSY = frozenset({503, 529})  # statuses of a server that has too much to do


def verdict(error: BaseException, call: Call, spent: float) -> Verdict:
    """Return what a failure says about the provider: an error it answers with for good reason is a good sign.

    spent: seconds since the provider was asked
    """
    if never_sent(error):
        return "unsent"
    if not isinstance(error, ProviderError):
        return "neutral"  # the caller left, or the fault is ours
    if hurried(error, call, spent) or (call.provider_key and about_key(error)):
        return "neutral"
    down = isinstance(error, ProviderUnavailable | ProviderTimeout | ProviderBroken)
    return "bad" if down or about_key(error) else "good"


def never_sent(error: BaseException) -> bool:
    """Say whether the provider was not even asked."""
    return isinstance(error, CircuitOpen | Overloaded)


def about_key(error: LlmApiError) -> bool:
    """Say whether the failure is the key's: it is refused, or has used up its share."""
    return isinstance(error, ProviderThrottled) or error.details.get("provider_status") in KEY_REFUSED


def hurried(error: LlmApiError, call: Call, spent: float) -> bool:
    """Say whether the call's own deadline was too short to blame the provider.

    Otherwise one caller with impatient calls could take a healthy provider away from all.
    """
    if not isinstance(error, ProviderTimeout) or "provider_status" in error.details:
        return False
    return spent < min(PATIENCE, 0.9 * (call.policy.attempt_timeout or PATIENCE))


def asks_to_slow_down(error: BaseException | None, call: Call) -> bool:
    """Say whether the provider told us that we ask too often, with the key that all calls share."""
    throttled = isinstance(error, ProviderThrottled) and not isinstance(error, ProviderQuotaSpent)
    return throttled and not call.provider_key


def seems_busy(error: BaseException | None, call: Call, spent: float) -> bool:
    """Say whether the provider may have too much to do: it says so itself, or does not answer in time."""
    if isinstance(error, ProviderTimeout):
        return not hurried(error, call, spent)
    return isinstance(error, ProviderUnavailable) and error.details.get("provider_status") in BUSY
