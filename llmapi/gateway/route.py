"""The candidates of a model name are asked in turn, until one answers."""

from llmapi.core.calls import Call
from llmapi.core.errors import ProviderError, ProviderInvalid, ProviderRefused
from llmapi.core.reply import Handler, Reply
from llmapi.gateway.trail import Trail


class Route:
    """Ask the candidates of a call, best first; the next one when another provider or model may do better.

    Once a candidate has given its first chunk it is the one: half an answer is never continued by another model.
    """

    def __call__(self, call: Call, proceed: Handler) -> Reply:
        trail = Trail()
        for place, target in enumerate(call.targets, start=1):
            try:
                reply = proceed(call.at(target))
            except ProviderError as error:
                trail.before_failure(error)
                if place == len(call.targets) or not another_may_help(error, call):
                    raise
                trail = Trail.of(error)
            else:
                return trail.before_answer(reply.told(provider=target.provider, model=target.model))
        raise ProviderInvalid("no model was named to answer this call")


def another_may_help(error: ProviderError, call: Call) -> bool:
    """Say whether the next candidate should be asked: not to get around a refusal, and not when time is up."""
    return not isinstance(error, ProviderRefused) and call.lifetime.remaining() > 0
