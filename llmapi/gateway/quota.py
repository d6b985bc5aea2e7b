"""Nobody uses more tokens, requests or money than its limits allow: held before a call, settled at its end.

Stands after caching, for a kept answer uses nothing. What a call may use at most is held: the bytes of its input and
its `max_tokens`, and before it is asked again what the askings before it were billed. At its end what was not used is
given back at once. A shared answer uses nothing but for the one who asked; a stream that was left counts its input and
what was heard of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

from llmapi.core.calls import NOTHING, Attempt, Call, Completion, Target, Usage
from llmapi.core.errors import CircuitOpen, LlmApiError, Overloaded, UnpricedModel
from llmapi.core.events import KEPT
from llmapi.core.identity import Payer
from llmapi.core.ids import new_id
from llmapi.core.money import Cost
from llmapi.core.reply import Handler, Reply
from llmapi.costs.tokens import bounded_input, bounded_output
from llmapi.gateway.route import StoredKeys, none_stored
from llmapi.tenants.quotas import Demand, Hold, Quotas
from llmapi.tenants.windows import Limit, Unit

GRACE = 5.0  # seconds after twice a call's time, in which its end may be late
NEVER_ASKED = (CircuitOpen, Overloaded)
NONE: Mapping[Unit, int] = MappingProxyType({"requests": 0, "tokens": 0, "nanos": 0})


class LimitsOf(Protocol):
    """Says which limits a call is under (tenants/allowances.py)."""

    def of(self, tenant: str, payer: Payer, target: Target) -> tuple[Limit, ...]: ...


class Bounds(Protocol):
    """What tokens cost, and cost at most."""

    def cost(self, target: Target, usage: Usage) -> Cost: ...

    def bound(self, target: Target, most: Usage) -> Cost: ...


@dataclass(slots=True)
class Held:
    """What a call holds; `billed` is what failed askings have used, and nothing is held for yet."""

    holds: list[Hold]
    billed: Usage = NOTHING


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
        held = Held([self._hold(call.entry, call, limits, self._most(call, limits))])
        sending, refused = partial(self._sending, call, limits, held), partial(_refused, call, held)
        try:
            reply = proceed(replace(call, sending=sending, refused=refused))
        except BaseException as error:
            self._settle(call, held, *failed(call, error))
            raise
        return reply.when_ended(lambda answer, error: self._ended(call, held, reply, answer, error))

    def _hold(self, id: str, call: Call, limits: tuple[Limit, ...], most: Mapping[Unit, int]) -> Hold:
        demands = [Demand(limit, most[limit.unit]) for limit in limits]
        return self._quotas.hold(id, call.tenant, demands, 2 * call.lifetime.remaining() + GRACE)

    def _most(self, call: Call, limits: tuple[Limit, ...]) -> Mapping[Unit, int]:
        """Return what a call uses at most, of each unit."""
        usage = Usage(bounded_input(call), bounded_output(call))
        nanos = self._nanos(call, limits, partial(self._bound, usage=usage))
        return {"requests": 1, "tokens": usage.total_tokens, "nanos": nanos}

    def _nanos(self, call: Call, limits: tuple[Limit, ...], price: Callable[[Target], int]) -> int:
        """Return the price at the dearest candidate the operator pays; only where money is asked for."""
        if call.provider_key or all(limit.unit != "nanos" for limit in limits):
            return 0
        paid = [target for target in call.targets if not self._keys(call.tenant, target.provider)]
        return max(map(price, paid), default=0)

    def _sending(self, call: Call, limits: tuple[Limit, ...], held: Held) -> None:
        """Hold what failed askings were billed: what is held covers the next one alone."""
        if held.billed != NOTHING and (counted := tuple(limit for limit in limits if limit.unit != "requests")):
            nanos = self._nanos(call, counted, partial(self._cost, usage=held.billed))
            more = {**NONE, "tokens": held.billed.total_tokens, "nanos": nanos}
            held.holds.append(self._hold(new_id("entry"), call, counted, more))
            held.billed = NOTHING
        call.sending()

    def _ended(
        self, call: Call, held: Held, reply: Reply, answer: Completion, error: BaseException | None
    ) -> None:
        facts = reply.facts
        if facts.cache in KEPT:
            self._settle(call, held, 0, ())
            return
        usage = answer.usage if reply.completed and answer.usage != NOTHING else heard(call, answer)
        lost = facts.attempts
        if isinstance(error, LlmApiError) and error.attempts:  # the last one broke on its way
            lost, told = error.attempts[:-1], error.attempts[-1].usage
            usage = usage if told == NOTHING else told
        last = Attempt(facts.provider, facts.model, "ok", 0.0, usage, own_key=facts.own_key)
        self._settle(call, held, 1, (*lost, last))

    def _settle(self, call: Call, held: Held, requests: int, attempts: tuple[Attempt, ...]) -> None:
        tokens = sum(attempt.usage.total_tokens for attempt in attempts)
        nanos = 0
        if "nanos" in held.holds[0].units and not call.provider_key:
            paid = [each for each in attempts if each.usage != NOTHING and not each.own_key]
            nanos = sum(self._cost(Target(each.provider, each.model), each.usage) for each in paid)
        self._quotas.settle(held.holds[0], {"requests": requests, "tokens": tokens, "nanos": nanos})
        for more in held.holds[1:]:  # afterwards: what was used is never counted too low
            self._quotas.settle(more, NONE)

    def _bound(self, target: Target, usage: Usage) -> int:
        nanos = self._prices.bound(target, usage).nanos
        if nanos is None:
            raise UnpricedModel("Nobody knows what this model costs, and your money is limited.", model=target.model)
        return nanos

    def _cost(self, target: Target, usage: Usage) -> int:
        return self._prices.cost(target, usage).nanos or 0


def _refused(call: Call, held: Held, error: Any) -> None:
    """Note what an asking without an answer was billed."""
    held.billed += error.usage
    call.refused(error)


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
