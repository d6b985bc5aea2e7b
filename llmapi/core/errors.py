"""Every error a caller can meet: a type with a stable code and an HTTP status, shown in one place (api/errors.py).

`retryable` says whether asking again may help, `in_doubt` that the first asking may still be worked on and paid for;
`usage` keeps what a failed call had already been billed for; `attempts` is filled by the gateway.
Messages are safe to show: no keys, paths, hosts or foreign text beyond a quote.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from llmapi.core.calls import NOTHING, Attempt, Usage


class BadSetting(Exception):
    """The service cannot start as configured; the message names the setting."""


class LlmApiError(Exception):
    """What a caller is told. Subclasses set the code, the status and whether a retry may help."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False
    in_doubt: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        usage: Usage = NOTHING,
        fields: Mapping[str, Sequence[str]] | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after  # seconds the other side asked us to wait
        self.usage = usage
        self.fields = dict(fields or {})  # dotted field name -> what is wrong with it
        self.details = details  # JSON values a caller may see
        self.attempts: tuple[Attempt, ...] = ()
        self.provider_time = 0.0  # seconds spent waiting for providers before it failed


class ValidationFailed(LlmApiError):
    """A field has a wrong shape or value; `fields` names it."""

    code, status, title = "validation_error", 422, "The request is not valid"


class MalformedJson(LlmApiError):
    """The body is not strict JSON."""

    code, status, title = "malformed_json", 400, "The body is not valid JSON"


class JsonTooDeep(LlmApiError):
    """The body nests deeper than allowed."""

    code, status, title = "json_too_deep", 400, "The body is nested too deeply"


class PayloadTooLarge(LlmApiError):
    """The body is larger than allowed."""

    code, status, title = "payload_too_large", 413, "The body is too large"


class UnsupportedMediaType(LlmApiError):
    """The body is not application/json, or it is compressed."""

    code, status, title = "unsupported_media_type", 415, "The media type is not supported"


class Unauthenticated(LlmApiError):
    """No key, or not one of ours."""

    code, status, title = "unauthenticated", 401, "A valid API key is needed"


class KeyInAddress(LlmApiError):
    """A key came in the address, where logs and proxies read it: it should be replaced."""

    code, status, title = "key_in_address", 400, "Keys belong in headers"


class Forbidden(LlmApiError):
    """A good key that may not do this."""

    code, status, title = "forbidden", 403, "This key may not do that"


class NotFound(LlmApiError):
    """Unknown, or somebody else's: the answer is the same."""

    code, status, title = "not_found", 404, "Not found"


class MethodNotAllowed(LlmApiError):
    """The address exists, the method does not."""

    code, status, title = "method_not_allowed", 405, "The method is not allowed here"


class JobNotCancellable(LlmApiError):
    """The job has ended: there is nothing left to cancel."""

    code, status, title = "job_not_cancellable", 409, "The job has already ended"


class DuplicateRequestId(LlmApiError):
    """The id of a request that is being worked on, or that had another body."""

    code, status, title = "duplicate_request_id", 409, "This request id is taken"


class IdempotencyInProgress(LlmApiError):
    """The request with this key is being worked on right now."""

    code, status, title, retryable = "idempotency_in_progress", 409, "This request is being worked on", True


class IdempotencyOutcomeUnknown(LlmApiError):
    """The request with this key was sent to a provider and its answer was lost: it may have been paid for."""

    code, status, title = "idempotency_outcome_unknown", 409, "What became of this request is not known"


class IdempotencyKeyReused(LlmApiError):
    """The key came before, with another request."""

    code, status, title = "idempotency_key_reused", 422, "This key was used for another request"


class RateLimited(LlmApiError):
    """The caller asked more often, or for more, than a limit allows just now."""

    code, status, title, retryable = "rate_limited", 429, "Too many requests", True


class BeyondLimit(RateLimited):
    """One request alone is larger than its limit: it can never be let in."""

    retryable = False


class QuotaExceeded(LlmApiError):
    """What a calendar month allows is used up."""

    code, status, title, retryable = "quota_exceeded", 429, "The quota is used up", True


class BeyondQuota(QuotaExceeded):
    """One request alone is larger than its quota: it can never be let in."""

    retryable = False


class BudgetExceeded(LlmApiError):
    """A hard budget has no room for what the call may cost."""

    code, status, title = "budget_exceeded", 402, "The budget is used up"


class UnpricedModel(LlmApiError):
    """Nobody knows what the model costs, and the caller's money is limited."""

    code, status, title = "unpriced_model", 422, "The model has no price"


class Overloaded(LlmApiError):
    """This server has too much to do."""

    code, status, title, retryable = "overloaded", 503, "The service is busy", True


class CacheMiss(LlmApiError):
    """`cache.mode` was "only" and no kept answer fits (RFC 9111: only-if-cached answers 504)."""

    code, status, title = "cache_miss", 504, "No kept answer fits"


class UnreadableAnswer(LlmApiError):
    """The model answered, but not in the form the task needs; `said` quotes its start."""

    code, status, title = "unreadable_answer", 502, "The model's answer could not be read"


class StorageFull(LlmApiError):
    """The database or the disk takes no more."""

    code, status, title = "storage_full", 507, "There is no room to store this"


class ProviderError(LlmApiError):
    """A provider failed; subclasses say how."""


class ProviderRefused(ProviderError):
    """The provider blocked the prompt or the answer for its content."""

    code, status, title = "content_blocked", 422, "The provider blocked the content"


class ProviderInvalid(ProviderError):
    """The provider rejected our request or our key, or answered something that is no answer."""

    code, status, title = "provider_invalid", 502, "The provider's answer is not usable"


class ProviderBroken(ProviderInvalid):
    """The provider's answer was cut or malformed; the next one may be whole."""

    retryable = True


class ContextTooLong(ProviderError):
    """The prompt does not fit the model's context."""

    code, status, title = "validation_error", 422, "The prompt is too long for the model"


class ProviderThrottled(ProviderError):
    """The provider answered 429."""

    code, status, title, retryable = "provider_throttled", 429, "The provider is throttling", True


class ProviderQuotaSpent(ProviderThrottled):
    """A 429 that waiting will not cure today: a daily quota or an empty account."""

    retryable = False


class ProviderUnavailable(ProviderError):
    """The provider cannot be reached, or answered 5xx."""

    code, status, title, retryable = "provider_unavailable", 503, "The provider is not available", True


class ProviderHungUp(ProviderUnavailable):
    """The provider took the question and closed the connection without an answer: it may have worked on it."""


class CircuitOpen(ProviderUnavailable):
    """The provider failed too often just now and is not asked; `retry_after` is when it may be."""


class ProviderTimeout(ProviderError):
    """The provider did not answer within the time the call had."""

    code, status, title, retryable = "provider_timeout", 504, "The provider took too long", True
    in_doubt = True


class CallEnded(LlmApiError):
    """The caller left or cancelled; nobody reads this answer."""

    code, status, title = "cancelled", 499, "The call was cancelled"
