"""What Anthropic's own words for its failures mean."""

from datetime import UTC, datetime

import pytest

from llmapi.core.errors import LlmApiError
from llmapi.providers.anthropic import Anthropic
from llmapi.providers.failures import asked_wait
from tests.fakes.behaviours import Status, StreamError

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


@pytest.fixture
def failure(transport, question, anthropic_upstream):
    """Return what an answer of the fake becomes."""
    vendor = Anthropic("k", anthropic_upstream.url, transport=transport)

    def ask(what, **fields):
        anthropic_upstream.script = [what]
        with pytest.raises(LlmApiError) as caught:
            vendor.ask(question("anthropic", **fields)).completion()
        return caught.value

    return ask


@pytest.mark.parametrize(
    "what, kind, status",
    [
        (Status(400, "Your credit balance is too low to access the Anthropic API."), "ProviderQuotaSpent", 400),
        (Status(400, "You have reached your specified API usage limits."), "ProviderQuotaSpent", 400),
        (Status(429, details="enforced_spend_limit_reached"), "ProviderQuotaSpent", 429),
        (Status(402), "ProviderQuotaSpent", 402),
        (Status(400, "Output blocked by content filtering policy"), "ProviderRefused", 400),
        (Status(400, "input length and `max_tokens` exceed context limit: 9 + 2 > 10"), "ContextTooLong", 400),
        (Status(400, "prompt is too long: 9 tokens > 8 maximum"), "ContextTooLong", None),
        (Status(413, "Request exceeds the maximum size"), "ProviderInvalid", 413),
    ],
)
def test_an_error_means_what_it_says(failure, what, kind, status):
    error = failure(what)
    assert (type(error).__name__, error.details.get("provider_status")) == (kind, status)


def test_an_overloaded_anthropic_is_waited_for_as_long_as_it_asks(failure):
    error = failure(Status(529, "Overloaded", {"Retry-After": "3"}))
    assert (type(error).__name__, error.retry_after) == ("ProviderUnavailable", 3.0)
    assert error.details == {"provider_status": 529, "provider_code": "overloaded_error"}


@pytest.mark.parametrize(
    "code, kind, retryable",
    [
        (400, "ProviderInvalid", False),
        (401, "ProviderInvalid", False),
        (402, "ProviderQuotaSpent", False),
        (429, "ProviderThrottled", True),
        (500, "ProviderUnavailable", True),
        (504, "ProviderUnavailable", True),
        (529, "ProviderUnavailable", True),
    ],
)
def test_an_error_event_counts_by_its_kind_and_not_by_the_200_before_it(failure, code, kind, retryable):
    error = failure(StreamError("Half ", code), stream=True)
    assert (type(error).__name__, error.retryable, error.details["provider_status"]) == (kind, retryable, code)
    assert error.usage.input_tokens == 2


def test_spent_limits_say_when_they_are_full_again_unless_the_answer_says_it_itself():
    limits = {
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2026-11-02T12:00:20Z",
        "anthropic-ratelimit-tokens-remaining": "0",
        "anthropic-ratelimit-tokens-reset": "2026-11-02T12:00:45Z",
        "anthropic-ratelimit-input-tokens-remaining": "7",
        "anthropic-ratelimit-input-tokens-reset": "2026-11-02T13:00:00Z",
        "anthropic-ratelimit-output-tokens-remaining": "0",
        "anthropic-ratelimit-output-tokens-reset": "soon",
    }
    assert asked_wait({}, limits, lambda: NOON) == 45.0
    assert asked_wait({}, limits | {"retry-after": "8"}, lambda: NOON) == 8.0
    assert asked_wait({}, {"anthropic-ratelimit-requests-remaining": "0"}, lambda: NOON) is None
