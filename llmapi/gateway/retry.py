"""A provider that may do better the next time is asked again: the only place that asks twice.

Exponential backoff with full jitter (Brooker, "Exponential Backoff And Jitter", 2015): the wait before attempt n + 1
is uniform between 0 and min(cap, base * 2 ** (n - 1)) seconds, and never less than the provider asked for.
Which failures are worth it, and how many of all calls may be asked again, is said in `Retry`.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from tenacity import RetryCallState, Retrying

from llmapi.core.calls import NOTHING, Attempt, Call, Completion, Target
from llmapi.core.errors import CallEnded, CircuitOpen, LlmApiError, ProviderError
from llmapi.core.lifetime import Lifetime
from llmapi.core.reply import Handler, Reply
from llmapi.gateway.blame import never_sent
from llmapi.gateway.retry_budget import RetryBudget
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


def never(_: Target) -> bool:
    """Say of every candidate that it may be asked."""
    return False


@dataclass(slots=True)
class _Tries:
    """One call and what became of its attempts so far."""

    call: Call
    target: Target
    proceed: Handler
    trail: Trail = field(default_factory=Trail)
    wait: float = 0.0  # seconds slept before the next attempt
    first: bool = True


class Retry:
    """Ask again after a `retryable` failure, at most `attempts` times in all and within the call's lifetime.

    A wait that does not fit into what is left of the lifetime is not begun: the failure is told at once. An answer
    that breaks after its first chunk is not asked for again; one that may still be worked on (`in_doubt`) only where
    the route allows it. Nobody waits for a candidate whose breaker opens, and `budget` bounds the retries of all
    calls together: a provider in trouble is not asked much more than without them.

    resting: says whether the breaker of a candidate is open
    """

    def __init__(
        self,
        attempts: int = 3,
        base: float = 0.5,
        cap: float = 8.0,
        sleep: Nap = nap,
        jitter: Callable[[], float] = random.random,
        *,
        resting: Callable[[Target], bool] = never,
        budget: RetryBudget | None = None,
    ) -> None:
        self._attempts = attempts
        self._base = base
        self._cap = cap
        self._sleep = sleep
        self._jitter = jitter
        self._resting = resting
        self._budget = budget or RetryBudget()
        self._policy = Retrying(
            retry=self._worth_asking_again,
            wait=self._wait,
            stop=self._give_up,
            before_sleep=self._rest,
            sleep=_not_again,
            reraise=True,
        )

    def __call__(self, call: Call, proceed: Handler) -> Reply:
        return self._policy(self._attempt, _Tries(call, call.target or call.targets[0], proceed))

    def _attempt(self, tries: _Tries) -> Reply:
        """Ask once; a failure leaves here knowing everything that was tried before it."""
        own_key = bool(tries.call.provider_key)
        this = Attempt(tries.target.provider, tries.target.model, "ok", tries.wait, own_key=own_key)
        first, tries.first = tries.first, False
        try:
            reply = _ask(tries, this)
        except LlmApiError as error:
            if first and not never_sent(error):
                self._budget.first()
            tries.trail.before_failure(error)
            tries.trail = Trail.of(error)
            raise
        if first:
            self._budget.first()
        return tries.trail.before_answer(reply)

    def _worth_asking_again(self, state: RetryCallState) -> bool:
        tries: _Tries = state.args[0]
        error = _failure(state)
        if not isinstance(error, ProviderError) or not error.retryable or isinstance(error, CircuitOpen):
            return False
        return (not error.in_doubt or tries.call.policy.ask_in_doubt) and not self._resting(tries.target)

    def _wait(self, state: RetryCallState) -> float:
        backoff = self._jitter() * min(self._cap, self._base * 2.0 ** (state.attempt_number - 1))
        error = _failure(state)
        hint = error.retry_after if isinstance(error, LlmApiError) else None
        return max(backoff, hint or 0.0)

    def _give_up(self, state: RetryCallState) -> bool:
        """Say whether this was the last attempt; the budget is asked last, for its yes is counted."""
        tries: _Tries = state.args[0]
        no_time = state.upcoming_sleep >= tries.call.lifetime.remaining()
        return no_time or state.attempt_number >= self._attempts or not self._budget.take()

    def _rest(self, state: RetryCallState) -> None:
        tries: _Tries = state.args[0]
        tries.wait = state.upcoming_sleep
        self._sleep(tries.wait, tries.call.lifetime)
        error = _failure(state)
        if error is not None and self._resting(tries.target):
            raise error  # its breaker opened meanwhile: this failure says more than a refusal would


def _not_again(_: float) -> None:
    """Do nothing where tenacity would sleep: it is not told for which call, so `_rest` has slept before."""


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


def _failure(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
