"""A provider that may do better the next time is asked again: the only place that asks twice.

Exponential backoff with full jitter (Brooker, "Exponential Backoff And Jitter", 2015): the wait before attempt n + 1
is uniform between 0 and min(cap, base * 2 ** (n - 1)) seconds, and never less than the provider asked for.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from tenacity import RetryCallState, Retrying, retry_if_exception

from llmapi.core.calls import NOTHING, Attempt, Call, Completion
from llmapi.core.errors import CallEnded, LlmApiError, ProviderError
from llmapi.core.lifetime import Lifetime
from llmapi.core.reply import Handler, Reply
from llmapi.gateway.trail import Trail

Nap = Callable[[float, Lifetime], None]  # sleeps that many seconds, less when the lifetime is ended


def nap(seconds: float, lifetime: Lifetime) -> None:
    """Sleep, but wake at once when the lifetime is ended: its caller has left."""
    ended = threading.Event()
    forget = lifetime.on_end(ended.set)
    try:
        ended.wait(seconds)
    finally:
        forget()


@dataclass(slots=True)
class _Tries:
    """One call and what became of its attempts so far."""

    call: Call
    proceed: Handler
    trail: Trail = field(default_factory=Trail)
    wait: float = 0.0  # seconds slept before the next attempt


class Retry:
    """Ask again after a `retryable` failure, at most `attempts` times in all and within the call's lifetime.

    A wait that does not fit into what is left of the lifetime is not begun: the failure is told at once. An answer
    that breaks after its first chunk is not asked for again.
    """

    def __init__(
        self,
        attempts: int = 3,
        base: float = 0.5,
        cap: float = 8.0,
        sleep: Nap = nap,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._attempts = attempts
        self._base = base
        self._cap = cap
        self._sleep = sleep
        self._jitter = jitter
        self._policy = Retrying(
            retry=retry_if_exception(_may_be_asked_again),
            wait=self._wait,
            stop=self._give_up,
            before_sleep=self._rest,
            sleep=_not_again,
            reraise=True,
        )

    def __call__(self, call: Call, proceed: Handler) -> Reply:
        return self._policy(_attempt, _Tries(call, proceed))

    def _wait(self, state: RetryCallState) -> float:
        backoff = self._jitter() * min(self._cap, self._base * 2.0 ** (state.attempt_number - 1))
        error = state.outcome.exception() if state.outcome else None
        hint = error.retry_after if isinstance(error, LlmApiError) else None
        return max(backoff, hint or 0.0)

    def _give_up(self, state: RetryCallState) -> bool:
        tries: _Tries = state.args[0]
        no_time = state.upcoming_sleep >= tries.call.lifetime.remaining()
        return no_time or state.attempt_number >= self._attempts

    def _rest(self, state: RetryCallState) -> None:
        tries: _Tries = state.args[0]
        tries.wait = state.upcoming_sleep
        self._sleep(tries.wait, tries.call.lifetime)


def _not_again(_: float) -> None:
    """Do nothing where tenacity would sleep: it is not told for which call, so `_rest` has slept before."""


def _attempt(tries: _Tries) -> Reply:
    """Ask once; a failure leaves here knowing everything that was tried before it."""
    target = tries.call.target or tries.call.targets[0]
    this = Attempt(target.provider, target.model, "ok", tries.wait)
    try:
        reply = _ask(tries, this)
    except LlmApiError as error:
        tries.trail.before_failure(error)
        tries.trail = Trail.of(error)
        raise
    return tries.trail.before_answer(reply)


def _ask(tries: _Tries, this: Attempt) -> Reply:
    """Ask, and let this attempt be known to the reply or to the failure."""
    if tries.call.lifetime.ended:
        raise CallEnded("the caller left before the provider was asked")
    try:
        reply = tries.proceed(tries.call)
    except LlmApiError as error:
        error.attempts = (replace(this, status=error.code, usage=error.usage),)
        raise
    return reply.told(attempts=(this,)).when_ended(partial(_broken, this))


def _broken(this: Attempt, answer: Completion, error: BaseException | None) -> None:
    """Turn an attempt that had begun well into a failed one when the answer breaks on its way."""
    if isinstance(error, LlmApiError):
        error.usage = error.usage if error.usage != NOTHING else answer.usage
        error.attempts = (replace(this, status=error.code, usage=error.usage),)


def _may_be_asked_again(error: BaseException) -> bool:
    return isinstance(error, ProviderError) and error.retryable
