"""Every call is told once, however it ends: the outermost stage, so that hits, failures and leavers are told too."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from llmapi.cache.keys import cache_key
from llmapi.core.calls import NOTHING, Attempt, Call, Completion, Facts, Usage
from llmapi.core.clock import Monotonic, monotonic, utc_now
from llmapi.core.contracts import Bus, Prices
from llmapi.core.errors import LlmApiError
from llmapi.core.events import CallFinished
from llmapi.core.ids import new_id
from llmapi.core.money import Cost
from llmapi.core.reply import Handler, Reply
from llmapi.gateway.billed import cost_of_answer, cost_of_attempts

log = logging.getLogger(__name__)


class Telemetry:
    """Tell CallFinished on the bus, with what the call cost; a fault in here never reaches the call."""

    def __init__(
        self, bus: Bus, prices: Prices, clock: Monotonic = monotonic, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._bus = bus
        self._prices = prices
        self._clock = clock
        self._now = now

    def __call__(self, call: Call, proceed: Handler) -> Reply:
        start, call = self._clock(), replace(call, entry=new_id("entry"))
        try:
            reply = proceed(call)
        except BaseException as failure:
            error = failure
            self._tell(call, start, lambda: self._failed(call, error, Facts(), NOTHING))
            raise
        return reply.when_ended(
            lambda answer, error: self._tell(call, start, lambda: self._ended(call, reply, answer, error))
        )

    def _tell(self, call: Call, start: float, ending: Callable[[], tuple[str, Facts, Usage, Cost]]) -> None:
        try:
            status, facts, usage, cost = ending()
            self._bus.tell(
                CallFinished(
                    call_id=call.id,
                    tenant=call.tenant,
                    task=call.task,
                    asked_model=call.model,
                    provider=facts.provider,
                    model=facts.model,
                    status=status,
                    cache=facts.cache,
                    usage=usage,
                    cost=cost,
                    attempts=facts.attempts,
                    duration=self._clock() - start,
                    provider_time=facts.provider_time,
                    streamed=call.stream,
                    at=self._now(),
                    payer=call.payer,
                    entry=call.entry,
                    batch=call.batch,
                    own_key=bool(call.provider_key) or facts.own_key,
                    question=cache_key(call),
                    max_tokens=call.max_tokens,
                )
            )
        except Exception:  # an answer that is paid for must reach its reader, whatever happens to the books
            log.exception("the end of call %s was not told", call.id)

    def _ended(
        self, call: Call, reply: Reply, answer: Completion, error: BaseException | None
    ) -> tuple[str, Facts, Usage, Cost]:
        facts, usage = reply.facts, answer.usage
        if error is not None:
            return self._failed(call, error, facts, usage)
        status = "ok" if reply.completed else "abandoned"
        return status, facts, usage, cost_of_answer(self._prices, facts, usage)

    def _failed(
        self, call: Call, error: BaseException, facts: Facts, seen: Usage
    ) -> tuple[str, Facts, Usage, Cost]:
        """Return the ending of a call that failed before its first chunk (no facts yet) or after it."""
        if call.cache.mode == "bypass":
            facts = replace(facts, cache="bypass")
        if not isinstance(error, LlmApiError):
            lost = (Attempt(facts.provider, facts.model, "", 0.0, seen),)
            return "internal_error", facts, seen, cost_of_attempts(self._prices, lost)
        attempts = error.attempts or (Attempt(facts.provider, facts.model, error.code, 0.0, error.usage),)
        last = attempts[-1]
        facts = replace(
            facts,
            provider=last.provider,
            model=last.model,
            attempts=error.attempts,
            provider_time=error.provider_time,
        )
        return error.code, facts, error.usage, cost_of_attempts(self._prices, attempts)
