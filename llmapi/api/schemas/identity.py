"""/v1/tenants, /v1/projects, /v1/keys, /v1/me."""

import ipaddress
from datetime import datetime
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from llmapi.api.schemas.fields import choice, flag, many, number, string
from llmapi.api.schemas.plans import a_name, name
from llmapi.core.clock import utc_now
from llmapi.tenants.key_rows import LONGEST_LIFE
from llmapi.tenants.roles import ROLES, SCOPES

STATES = ("active", "suspended")
KEY_STATES = ("active", "revoked")
ROLE_NAMES = tuple(ROLES)
LONGEST_OVERLAP = 7 * 86_400.0
WITH_STARS = sorted({*SCOPES, "*", *(f"{scope.partition(':')[0]}:*" for scope in SCOPES)})
SHOWN_ONCE = {"description": "The key; told this once", "example": "lak_01kexample000000_…"}
NEXT = {"description": "Send as `after` for the next page"}
EXAMPLE = "01kexample000000"  # a key's public id


class Later(fields.AwareDateTime):
    """An instant to come, with its offset, at most ten years ahead."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> datetime:
        if not isinstance(value, str) or "T" not in value.upper():
            raise ValidationError("Not a valid RFC 3339 date and time.")
        found, now = super()._deserialize(value, *args, **kwargs), utc_now()
        if not now < found <= now + LONGEST_LIFE:
            raise ValidationError("Must be in the future, at most ten years ahead.")
        return found


def a_network(text: str) -> None:
    """Refuse what is neither an address nor a network."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        raise ValidationError("Write an address or a network, such as 192.0.2.7 or 2001:db8::/32.") from None


def a_name_or_nothing(text: str) -> None:
    """Refuse what is no name; nothing takes one away."""
    if text:
        a_name(text)


def scopes(meaning: str, **more: Any) -> Any:
    """Return a field of scopes."""
    return many(choice("A scope", tuple(WITH_STARS)), meaning, 0, 64, example=["tasks:run", "jobs:*"], **more)


def networks(meaning: str, **more: Any) -> Any:
    """Return a field of addresses and networks."""
    one = fields.String(validate=[validate.Length(2, 64), a_network])
    return many(one, meaning, 0, 32, example=["192.0.2.0/24"], **more)


def name_or_nothing(meaning: str, **more: Any) -> fields.String:
    """Return the field of a name that may be empty."""
    return fields.String(validate=a_name_or_nothing, metadata={"description": meaning}, **more)


class PageQuery(Schema):
    limit = fields.Integer(load_default=20, validate=validate.Range(1, 100), metadata={"description": "How many"})
    after = string("The id to go on after", 1, 64)


class TenantRequest(Schema):
    id = name("What its rows, its keys and the logs call it; never changed", required=True)
    name = string("For people; left out: the id", 1, 128)
    plan = name_or_nothing("The plan it is under; empty: none", load_default="")


class TenantChange(Schema):
    name = string("For people", 1, 128)
    state = choice("`suspended`: all its keys are refused", STATES)
    plan = name_or_nothing("The plan it is under; empty: none")


class Tenant(Schema):
    id = fields.String(required=True, metadata={"example": "acme"})
    name = fields.String(required=True)
    state = choice("`suspended`: all its keys are refused", STATES, required=True)
    plan = fields.String(required=True, metadata={"description": "Empty: none"})
    created = fields.DateTime(required=True)


class TenantList(Schema):
    data = many(fields.Nested(Tenant), "By id", 0, 100, required=True)
    next = fields.String(required=True, allow_none=True, metadata=NEXT)


class ProjectRequest(Schema):
    id = name("What costs are booked on; never changed", required=True)
    name = string("For people; left out: the id", 1, 128)


class Project(Schema):
    id = fields.String(required=True, metadata={"example": "search"})
    name = fields.String(required=True)
    created = fields.DateTime(required=True)


class ProjectList(Schema):
    data = many(fields.Nested(Project), "By id", 0, 100, required=True)
    next = fields.String(required=True, allow_none=True, metadata=NEXT)


class KeyRequest(Schema):
    name = string("For you", 1, 128, required=True, example="search backend")
    role = choice("What it may do, at most what your own key may", ROLE_NAMES, required=True)
    scopes = scopes("Fewer scopes than the role's; left out: all of them")
    project = name_or_nothing("What its calls are booked on", load_default="")
    expires = Later(metadata={"description": "The instant it ends (RFC 3339); left out: never"})
    addresses = networks("From where it is taken; empty: from anywhere", load_default=())
    requires_signature = flag("Only signed requests are taken", load_default=False)
    may_name_user = flag("Its `X-User-ID` is believed", load_default=False)
    plan = name_or_nothing("Operators: a plan of its own; empty: the tenant's")


class KeyChange(Schema):
    name = string("For you", 1, 128)
    scopes = scopes("Fewer scopes than the role's; null: all of them", allow_none=True)
    project = name_or_nothing("What its calls are booked on; empty: no project")
    expires = Later(allow_none=True, metadata={"description": "The instant it ends (RFC 3339); null: never"})
    addresses = networks("From where it is taken; empty: from anywhere")
    requires_signature = flag("Only signed requests are taken")
    may_name_user = flag("Its `X-User-ID` is believed")
    plan = name_or_nothing("Operators: a plan of its own; empty: the tenant's")


class RotateRequest(Schema):
    overlap_s = number("Seconds the old key is good beside the new one", 0, LONGEST_OVERLAP, load_default=86_400.0)


class Key(Schema):
    id = fields.String(required=True, metadata={"description": "Public: it begins the key", "example": EXAMPLE})
    name = fields.String(required=True)
    role = choice("What it may do", ROLE_NAMES, required=True)
    scopes = many(fields.String(), "What it may do exactly", 0, 64, required=True)
    project = fields.String(required=True)
    plan = fields.String(required=True, metadata={"description": "Empty: the tenant's"})
    state = choice("`revoked` is for ever", KEY_STATES, required=True)
    addresses = many(fields.String(), "From where it is taken; empty: from anywhere", 0, 32, required=True)
    requires_signature = fields.Boolean(required=True)
    may_name_user = fields.Boolean(required=True)
    created = fields.DateTime(required=True)
    expires = fields.DateTime(required=True, allow_none=True)
    previous_key_until = fields.DateTime(
        required=True, allow_none=True, metadata={"description": "Until when the key before this one is good too"}
    )
    last_used = fields.DateTime(
        required=True, allow_none=True, metadata={"description": "As of a minute ago, or so"}
    )


class KeyShown(Key):
    key = fields.String(required=True, metadata=SHOWN_ONCE)


class KeyList(Schema):
    data = many(fields.Nested(Key), "Newest first", 0, 100, required=True)
    next = fields.String(required=True, allow_none=True, metadata=NEXT)


class Me(Schema):
    tenant = fields.String(required=True, metadata={"example": "acme"})
    project = fields.String(required=True, metadata={"description": "What your calls are booked on"})
    key = fields.String(required=True, metadata={"description": "Your key's public id", "example": EXAMPLE})
    user = fields.String(required=True, metadata={"description": "Whom your key named"})
    role = fields.String(required=True)
    scopes = many(fields.String(), "What you may do", 0, 64, required=True)
    plan = fields.String(required=True, metadata={"description": "Empty: none"})
