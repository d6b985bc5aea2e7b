"""What a view may ask of the request it serves: the services, who calls, and under which id."""

from dataclasses import dataclass

from flask import current_app, g, request

from llmapi.api import wishes
from llmapi.api.request_id import KEY
from llmapi.services import Services
from llmapi.tasks.runner import Caller


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a key belongs to. `name` is what limits count and logs show, never the key itself."""

    tenant: str
    name: str


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
    return Caller(
        identity().tenant,
        request_id(),
        limit=wishes.time_limit(),
        provider_key=wishes.provider_key(),
        again=wishes.repeated(),
    )
