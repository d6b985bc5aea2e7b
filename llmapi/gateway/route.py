"""The candidates of a model name are asked in turn, until one answers or a failure ends the search."""

from collections.abc import Callable
from dataclasses import replace
from math import inf

from llmapi.core.calls import Call, Target
from llmapi.core.errors import (
    ContextTooLong,
    LlmApiError,
    Overloaded,
    ProviderInvalid,
    ProviderRefused,
    ProviderThrottled,
    ProviderTimeout,
    ProviderUnavailable,
    ValidationFailed,
)
from llmapi.core.reply import Handler, Reply
from llmapi.core.routing import Failure
from llmapi.gateway.balance import Balancer
from llmapi.gateway.blame import never_sent
from llmapi.gateway.trail import Trail

KINDS: tuple[tuple[type[LlmApiError], Failure], ...] = (
    (ProviderUnavailable, "unavailable"),
    (Overloaded, "unavailable"),  # too many calls of ours are waiting for this one provider
    (ProviderThrottled, "throttled"),
    (ProviderTimeout, "timeout"),
    (ProviderInvalid, "invalid"),
    (ContextTooLong, "context"),
    (ProviderRefused, "blocked"),
)
StoredKeys = Callable[[str, str], str]  # the key a tenant has stored for a provider, or ""
OWN_FAULTS = frozenset({"unavailable", "throttled", "timeout", "invalid"})  # the others are the question's


def none_stored(tenant: str, provider: str) -> str:
    """Return no key."""
    return ""


class Route:
    """Ask the candidates of a call, best first; the next one after a failure that the route's policy names.

    Once a candidate has given its first chunk it is the one: half an answer is never continued by another model.

    resting: says which candidates would refuse at once, and so are only asked when all others failed
    keys: what tenants have stored. From here down such a call is one with a key of its own; above it is like any
        other, for all calls of a tenant are made with the same key and may share answers
    """

    def __init__(
        self,
        balancer: Balancer | None = None,
        resting: Callable[[Target], bool] = lambda target: False,
        keys: StoredKeys = none_stored,
    ) -> None:
        self._balancer = balancer or Balancer()
        self._resting = resting
        self._keys = keys

    def __call__(self, call: Call, proceed: Handler) -> Reply:
        trail, failure = Trail(), None
        waiting = self._candidates(call)
        while waiting:
            target = waiting.pop(0)
            try:
                reply = self._ask(target, call, proceed)
            except LlmApiError as error:
                trail += Trail.of(error)
                failure = more_telling(failure, error)
                waiting = those_who_may_help(error, target, call, waiting)
            else:
                return trail.before_answer(reply)
        try:
            raise trail.told_by(failure or ProviderInvalid("no model was named to answer this call"))
        finally:
            failure = None  # it refers back here by its traceback: let both go

    def _ask(self, target: Target, call: Call, proceed: Handler) -> Reply:
        call = self._at(target, call)
        asking = self._balancer.started(target)
        try:
            reply = proceed(call)
        except BaseException as error:
            asking.ended(own_fault(error, call))
            raise
        asking.answered()
        reply.told(provider=target.provider, model=target.model)
        return reply.when_ended(lambda _, error: asking.ended(own_fault(error, call)))

    def _at(self, target: Target, call: Call) -> Call:
        """Return the call addressed to a candidate, with the key its tenant has there unless it brings its own."""
        key = call.provider_key or self._keys(call.tenant, target.provider)
        return replace(call, target=target, provider_key=key) if key else call.at(target)

    def _candidates(self, call: Call) -> list[Target]:
        """Return who can do what the call needs, best first; raises ValidationFailed when nobody can."""
        if not (call.tools or call.inputs):
            return self._balancer.order(call, self._resting)
        order = self._balancer.order(call, lambda target: not suits(target, call) or self._resting(target))
        able = [target for target in order if suits(target, call)]
        if order and not able:
            raise _nobody(call)
        return able


def suits(target: Target, call: Call) -> bool:
    """Say whether a model can do what a call cannot go without; one of which nothing is known may try."""
    if not target.abilities:
        return True
    return (not call.tools or target.can("tools")) and (not call.inputs or target.can("embeddings"))


def _nobody(call: Call) -> ValidationFailed:
    if call.tools:
        return ValidationFailed("The model cannot call tools.", fields={"tools": [f"{call.model} cannot call tools."]})
    return ValidationFailed("The model cannot be used.", fields={"model": [f"{call.model} makes no embeddings."]})


def kind_of(error: BaseException | None) -> Failure | None:
    """Return the name a policy has for a failure; None for those that never lead to another candidate."""
    return next((kind for type_, kind in KINDS if isinstance(error, type_)), None)


def own_fault(error: BaseException | None, call: Call) -> LlmApiError | None:
    """Return the failure if the candidate is to blame: not for the question, nor for what a caller's own key lacks."""
    if not isinstance(error, LlmApiError) or never_sent(error) or call.provider_key:
        return None
    return error if kind_of(error) in OWN_FAULTS else None


def those_who_may_help(error: LlmApiError, target: Target, call: Call, waiting: list[Target]) -> list[Target]:
    """Return the candidates to go on with after one failed; [] when this failure is to be told."""
    kind = kind_of(error)
    if kind not in call.policy.fallback or call.lifetime.remaining() <= 0:
        return []
    if error.in_doubt and not call.policy.ask_in_doubt:
        return []  # the first asking may still be worked on, and paid for
    if kind != "context":
        return waiting
    wider = [each for each in waiting if each.context > target.context]
    return wider + [each for each in waiting if not each.context]  # of these nobody knows: after the others


def more_telling(old: LlmApiError | None, new: LlmApiError) -> LlmApiError:
    """Return the failure to tell of two: the later answer of a provider, else who may be asked soonest."""
    if old is None or not never_sent(new):
        return new
    if not never_sent(old):
        return old
    return min(old, new, key=lambda error: inf if error.retry_after is None else error.retry_after)
