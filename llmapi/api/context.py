"""What a view may ask of the request it serves: the services, who calls, and under which id."""

from dataclasses import replace

from flask import current_app, g, request

from llmapi.api import wishes
from llmapi.api.request_id import KEY
from llmapi.core.identity import Identity
from llmapi.gateway.idempotency_held import Held
from llmapi.services import Services
from llmapi.tasks.runner import Caller

HELD = "held"  # in flask.g: the idempotency key of the request, while it is worked on


def services() -> Services:
    """Return the parts this application runs on."""
    found: Services = current_app.extensions["llmapi"]
    return found


def request_id() -> str:
    """Return the id of the request being served."""
    return str(request.environ.get(KEY, ""))


def identity() -> Identity:
    """Return who calls; auth has put it there."""
    found: Identity = g.identity
    return found


def caller() -> Caller:
    """Return who asks, as the tasks want to know it."""
    asker = Caller(
        identity().tenant,
        request_id(),
        limit=wishes.time_limit(),
        provider_key=wishes.provider_key(),
        again=wishes.repeated(),
        payer=identity().payer,
    )
    held: Held | None = g.get(HELD)
    return asker if held is None else replace(asker, sending=held.sending, refused=held.refused)


def committing() -> None:
    """Work is about to be put down for later: from now on this request must not be begun again. May raise."""
    held: Held | None = g.get(HELD)
    if held is not None:
        held.committing()
