"""Nobody uses more tokens, requests or money than its limits allow: held before a call, settled at its end.

Stands after caching, for a kept answer uses nothing. What a call may use at most is held: the bytes of its input and
its `max_tokens`. At its end what was not used is given back at once. A shared answer uses nothing but for the one who
asked; a stream that was left counts its input and what was heard of it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from llmapi.core.calls import NOTHING, Attempt, Call, Completion, Target, Usage
from llmapi.core.errors import CircuitOpen, LlmApiError, Overloaded, UnpricedModel
from llmapi.core.events import KEPT
from llmapi.core.identity import Payer
from llmapi.core.money import Cost
from llmapi.core.reply import Handler, Reply
from llmapi.costs.tokens import bounded_input, bounded_output
from llmapi.gateway.route import StoredKeys, none_stored
from llmapi.tenants.quotas import Demand, Hold, Quotas
from llmapi.tenants.windows import Limit, Unit

GRACE = 5.0  # seconds after twice a call's time, in which its end may be late
NEVER_ASKED = (CircuitOpen, Overloaded)


class LimitsOf(Protocol):
    """Says which limits a call is under (tenants/allowances.py)."""

    def of(self, tenant: str, payer: Payer, target: Target) -> tuple[Limit, ...]: ...


class Bounds(Protocol):
    """What tokens cost, and cost at most."""

    def cost(self, target: Target, usage: Usage) -> Cost: ...

    def bound(self, target: Target, most: Usage) -> Cost: ...


class Quota:
    """Hold what a call may use, if it is under any limit.

    keys: what tenants have stored to be used instead of the operator's, who then pays nothing
    """

    def __init__(
        self, quotas: Quotas, limits: LimitsOf, prices: Bounds, keys: StoredKeys = none_stored
    ) -> None:
        self._quotas, self._limits, self._prices, self._keys = quotas, limits, prices, keys

    def __call__(self, call: Call, proceed: Handler) -> Reply:
        limits = self._limits.of(call.tenant, call.payer, call.targets[0])
        if not limits:
            return proceed(call)
        most = self._most(call, limits)
        demands = [Demand(limit, most[limit.unit]) for limit in limits]
        lease = 2 * call.lifetime.remaining() + GRACE
        hold = self._quotas.hold(call.entry, call.tenant, demands, lease)
        try:
            reply = proceed(call)
        except BaseException as error:
            self._settle(call, hold, *failed(call, error))
            raise
        return reply.when_ended(lambda answer, error: self._ended(call, hold, reply, answer, error))

    def _most(self, call: Call, limits: tuple[Limit, ...]) -> Mapping[Unit, int]:
        """Return what a call uses at most, of each unit; money only where it is asked for."""
        usage = Usage(bounded_input(call), bounded_output(call))
        nanos = 0
        if any(limit.unit == "nanos" for limit in limits) and not call.provider_key:
            paid = [target for target in call.targets if not self._keys(call.tenant, target.provider)]
            nanos = max((self._bound(target, usage) for target in paid), default=0)
        return {"requests": 1, "tokens": usage.total_tokens, "nanos": nanos}

    def _ended(
        self, call: Call, hold: Hold, reply: Reply, answer: Completion, error: BaseException | None
    ) -> None:
        facts = reply.facts
        if facts.cache in KEPT:
            self._quotas.settle(hold, {"requests": 0, "tokens": 0, "nanos": 0})
            return
        usage = answer.usage if reply.completed and answer.usage != NOTHING else heard(call, answer)
        lost = facts.attempts
        if isinstance(error, LlmApiError) and error.attempts:  # the last one broke on its way
            lost, told = error.attempts[:-1], error.attempts[-1].usage
            usage = usage if told == NOTHING else told
        last = Attempt(facts.provider, facts.model, "ok", 0.0, usage, own_key=facts.own_key)
        self._settle(call, hold, 1, (*lost, last))

    def _settle(self, call: Call, hold: Hold, requests: int, attempts: tuple[Attempt, ...]) -> None:
        tokens = sum(attempt.usage.total_tokens for attempt in attempts)
        nanos = 0
        if "nanos" in hold.units and not call.provider_key:
            paid = [each for each in attempts if each.usage != NOTHING and not each.own_key]
            nanos = sum(self._cost(attempt) for attempt in paid)
        self._quotas.settle(hold, {"requests": requests, "tokens": tokens, "nanos": nanos})

    def _bound(self, target: Target, usage: Usage) -> int:
        nanos = self._prices.bound(target, usage).nanos
        if nanos is None:
            raise UnpricedModel("Nobody knows what this model costs, and your money is limited.", model=target.model)
        return nanos

    def _cost(self, attempt: Attempt) -> int:
        cost = self._prices.cost(Target(attempt.provider, attempt.model), attempt.usage)
        return cost.nanos or 0


def failed(call: Call, error: BaseException) -> tuple[int, tuple[Attempt, ...]]:
    """Return how many requests and what attempts a call comes to, that failed before its first chunk."""
    if not isinstance(error, LlmApiError):
        return 1, ()
    attempts = error.attempts  # none: nobody was asked, or by another who shares this failure
    if error.in_doubt and attempts and error.usage == NOTHING:
        # it may still be worked on: its input is counted, of an answer nothing is known
        attempts = (*attempts[:-1], replace(attempts[-1], usage=Usage(bounded_input(call))))
    return 1 if attempts and not isinstance(error, NEVER_ASKED) else 0, attempts


def heard(call: Call, answer: Completion) -> Usage:
    """Return what half an answer has used: where nobody said so, all of the input and the bytes that came."""
    said = answer.usage
    return Usage(
        said.input_tokens or bounded_input(call),
        said.output_tokens or min(bounded_output(call), len(answer.text.encode())),
        said.cached_tokens,
        said.reasoning_tokens,
    )
