"""What makes two questions the same question."""

import hashlib

import orjson

from llmapi.core.calls import Call

VERSION = 2  # raise it when the meaning of a field, or of an answer kept under it, changes

# Fields that do not change the answer. `model`, `target` and `policy` only say who of `targets` is asked.
NOT_IN_KEY = frozenset(
    "id lifetime stream cache good model target policy provider_key again sending refused"
    " payer batch entry priority".split()
)


def cache_key(call: Call) -> str:
    """Return `tenant:digest`, the same for two calls exactly when one's answer may serve the other.

    The digest is SHA-256 over canonical JSON: a list with fixed places, so that no two fields can run into each
    other, object keys sorted, and JSON's own difference between 1, 1.0, "1", true and null.
    """
    question = [
        VERSION,
        call.tenant,
        call.task,
        [(target.provider, target.model) for target in call.targets],
        call.messages,
        call.inputs,
        call.temperature,
        call.max_tokens,
        call.top_p,
        call.stop,
        call.seed,
        call.schema,
        call.logprobs,
        call.sample,
        call.tools,
        call.tool_choice,
    ]
    return call.tenant + ":" + hashlib.sha256(orjson.dumps(question, option=orjson.OPT_SORT_KEYS)).hexdigest()
