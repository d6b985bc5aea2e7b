"""/v1/plans."""

import re
from decimal import Decimal
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from llmapi.api.schemas.fields import many, part, string, whole
from llmapi.core.money import NANOS_A_DOLLAR, dollars
from llmapi.setting_tables import Limits
from llmapi.tenants.plans import ANY_ROUTE, RULE

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}\Z")
DOLLARS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?\Z")
MUCH = 10**15
LIMITS = {"requests": {"text": "60/minute", "*": "600/minute"}, "tokens_per_minute": 20_000, "concurrency": 8}


def a_name(text: str) -> None:
    """Refuse what cannot be the name of a plan, a tenant or a project."""
    if not NAME.match(text):
        raise ValidationError("1 to 64 of a-z 0-9 _ . - beginning with a letter or digit.")


def name(meaning: str, **more: Any) -> fields.String:
    """Return the field of a name that addresses and keys of tables are made of."""
    shape = {"description": meaning, "pattern": "^[a-z0-9][a-z0-9_.-]{0,63}$"}
    return fields.String(validate=a_name, metadata=shape, **more)


def rules(given: dict[str, str]) -> None:
    """Refuse limits of requests that no route obeys or nobody can read."""
    known = {*Limits.model_fields, ANY_ROUTE}
    wrong = {route: ["No route is called so."] for route in given if route not in known}
    odd = {route: ["Write e.g. 60/minute or 600/5 minutes."] for route in given if not RULE.fullmatch(given[route])}
    if wrong or odd:
        raise ValidationError({**odd, **wrong})


class Money(fields.String):
    """An amount of USD as a decimal string, kept without trailing zeros."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        if not DOLLARS.match(text):
            raise ValidationError('Write an amount as a decimal string, such as "25.00".')
        return dollars(int(Decimal(text) * NANOS_A_DOLLAR))


class MonthlyLimits(Schema):
    requests = whole("Requests a calendar month", 1, MUCH)
    tokens = whole("Tokens a calendar month, in and out", 1, MUCH)
    usd = Money(metadata={"description": "USD a calendar month (UTC), as a decimal string", "example": "25.00"})


class PlanLimits(Schema):
    requests = fields.Dict(
        keys=fields.String(validate=validate.Length(1, 64)),
        values=fields.String(),
        validate=[validate.Length(0, 128), rules],
        metadata={"description": "By route group, `*` for all others: N/second, N/minute, N/hour, N/day, N/5 minutes"},
    )
    tokens_per_minute = whole("Tokens a minute, in and out", 1, MUCH)
    tokens_per_day = whole("Tokens a day, in and out", 1, MUCH)
    concurrency = whole("Calls under way at once", 1, 100_000)
    monthly = part(MonthlyLimits, "Of each calendar month")


class PlanRequest(Schema):
    name = name("What tenants and keys refer to", required=True)
    description = string("For you", 0, 500, load_default="")
    limits = part(PlanLimits, "What is not named has no limit of this plan", required=True)


class PlanChange(Schema):
    description = string("For you", 0, 500)
    limits = part(PlanLimits, "All limits anew: what is not named has none any more")


class PlanQuery(Schema):
    limit = fields.Integer(load_default=20, validate=validate.Range(1, 100), metadata={"description": "How many"})
    after = string("The name to go on after", 1, 64)


class Plan(Schema):
    name = fields.String(required=True, metadata={"example": "team"})
    description = fields.String(required=True)
    limits = fields.Nested(PlanLimits, required=True, metadata={"example": LIMITS})
    created = fields.DateTime(required=True)
    changed = fields.DateTime(required=True)


class PlanList(Schema):
    data = many(fields.Nested(Plan), "By name", 0, 100, required=True)
    next = fields.String(required=True, allow_none=True, metadata={"description": "Send as `after` for the next page"})
