"""Changes by those who run the service, and their looks at what is not everybody's, go into the audit chain.

Around the views and not in them, so that a new view of these blueprints is watched from its first day. An answer whose
entry cannot be written is not given.
"""

from collections.abc import Mapping
from typing import Any, Final

from flask import Flask, Response, current_app, request

from llmapi.api.context import identity, request_id, services
from llmapi.api.strict_json import strict_loads
from llmapi.core.errors import LlmApiError

CHANGES: Final = frozenset(
    "tenants projects keys plans signing_secrets provider_keys budgets webhooks templates experiments cache".split()
)
READS: Final = frozenset("tenants projects keys plans signing_secrets provider_keys audit".split())
VERBS: Final[Mapping[str, str]] = {
    "GET": "read", "HEAD": "read", "POST": "create", "PUT": "set", "PATCH": "change", "DELETE": "delete"
}
SHOWN: Final = frozenset(  # fields of a body whose values say what was changed and hide nothing
    "id name role scopes state plan project level amount window rolling_s kind thresholds events overlap_s expires"
    " requires_signature may_name_user addresses tag model template older_than_s all everyone".split()
)


def install(app: Flask) -> None:
    """Write down what was done, once it was done. After who asks is known: strangers' bodies are not read."""
    app.before_request(keep_body)
    app.after_request(noted)


def keep_body() -> None:
    """Let the body be read a second time."""
    if verb() not in (None, "read") and subject() in CHANGES:
        request.get_data(cache=True)


def verb() -> str | None:
    """Return what a method does; None: it asks about the address, as browsers do before they send anything."""
    return VERBS.get(request.method)


def subject() -> str:
    """Return what a request is about: the name of its blueprint."""
    return (request.endpoint or "").partition(".")[0]


def noted(response: Response) -> Response:
    """Return the answer, having written down what it stands for."""
    done = verb()
    if done is None or response.status_code >= 400 or subject() not in (READS if done == "read" else CHANGES):
        return response
    who, view = identity(), (request.endpoint or "").partition(".")[2]
    try:
        services().audit.append(
            who.tenant,
            who.name,
            f"{subject()}.{done}",
            target_of(response),
            details={"view": view, "status": response.status_code, **asked()},
            request_id=request_id(),
        )
    except LlmApiError as error:
        return current_app.make_response(current_app.handle_user_exception(error))
    return response


def target_of(response: Response) -> str:
    """Return the ids in the address, or the id of what was made."""
    named = "/".join(str(value) for value in (request.view_args or {}).values())
    made = response.headers.get("Location", "").rpartition("/")[2]
    return "/".join(part for part in (named, made) if part)


def asked() -> dict[str, Any]:
    """Return what a change was asked to do: values that hide nothing, of others the names."""
    if verb() == "read":
        return {}
    try:
        body = strict_loads(request.get_data()) if request.is_json else None
    except LlmApiError:  # a view that takes no body has not looked at it
        body = None
    told = {**request.args, **(body if isinstance(body, dict) else {})}
    return {"asked": {name: value if name in SHOWN else "***" for name, value in told.items()}} if told else {}
