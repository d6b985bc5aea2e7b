"""/v1/budgets."""

from decimal import Decimal
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from llmapi.api.schemas.fields import choice, flag, many, number, string, whole
from llmapi.api.schemas.plans import DOLLARS
from llmapi.api.schemas.usage import NAME
from llmapi.core.money import NANOS_A_DOLLAR
from llmapi.costs.budget_windows import LONGEST, SHORTEST
from llmapi.costs.budgets import LEVELS, MOST_THRESHOLDS, WINDOWS

KINDS = ("hard", "soft")
SHARES = [0.5, 0.8, 1.0]


class Dollars(fields.String):
    """An amount of USD as a decimal string; inside, nano-dollars."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if not DOLLARS.match(text):
            raise ValidationError('Write an amount as a decimal string with up to 9 places, such as "25.00".')
        return int(Decimal(text) * NANOS_A_DOLLAR)


def amount(**more: Any) -> Dollars:
    """Return the field of what may be spent."""
    shape = {"description": "USD a window", "example": "25.00", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,9})?$"}
    return Dollars(metadata=shape, **more)


def thresholds(**more: Any) -> fields.List[Any]:
    """Return the field of the shares at which an event is told."""
    share = number("A share of the amount", 0.000001, 10)
    meaning = "At which shares of the amount a `budget.alert` event is told"
    return many(share, meaning, 0, MOST_THRESHOLDS, example=SHARES, **more)


class BudgetRequest(Schema):
    level = choice("Whose spending", LEVELS, load_default="tenant")
    name = fields.String(
        load_default="",
        validate=validate.Regexp(NAME, error="Not a name."),
        metadata={"description": "Of the project, key, user or model (`model` or `provider/model`)", "maxLength": 128},
    )
    amount = amount(required=True)
    window = choice("Calendar windows begin at midnight UTC, weeks on Monday", WINDOWS, required=True)
    rolling_s = whole("Seconds of a rolling window", SHORTEST, LONGEST)
    kind = choice("hard: refuse what may go beyond it; soft: only tell", KINDS, load_default="hard")
    thresholds = thresholds(load_default=(0.5, 0.8, 1.0))

    @validates_schema
    def _rolls(self, wanted: dict[str, Any], **_: Any) -> None:
        if (wanted.get("window") == "rolling") != ("rolling_s" in wanted):
            raise ValidationError("A rolling window needs seconds, and no other has them.", "rolling_s")


class BudgetChange(Schema):
    amount = amount()
    kind = choice("hard: refuse what may go beyond it; soft: only tell", KINDS)
    active = flag("false: it neither counts nor refuses until it is true again")
    thresholds = thresholds()


class BudgetQuery(Schema):
    limit = fields.Integer(load_default=20, validate=validate.Range(1, 100), metadata={"description": "How many"})
    after = string("The id to go on after", 1, 64)


class WindowOf(Schema):
    start = fields.DateTime(required=True)
    end = fields.DateTime(required=True)


class Budget(Schema):
    id = fields.String(required=True, metadata={"example": "budget_01kexample0000000000000000"})
    level = choice("Whose spending", LEVELS, required=True)
    name = fields.String(required=True)
    amount = fields.String(required=True, metadata={"description": "USD a window", "example": "25"})
    window = choice("What it is counted over", WINDOWS, required=True)
    rolling_s = fields.Integer(required=True, allow_none=True)
    kind = choice("Whether it refuses", KINDS, required=True)
    active = fields.Boolean(required=True)
    thresholds = many(fields.Float(), "Shares of the amount", 0, MOST_THRESHOLDS, required=True)
    created = fields.DateTime(required=True)
    spent = fields.String(required=True, metadata={"description": "USD in the window now"})
    held = fields.String(required=True, metadata={"description": "USD that calls under way may still cost"})
    left = fields.String(required=True, metadata={"description": "USD, never below 0"})
    current = fields.Nested(WindowOf, required=True, metadata={"description": "The window now"})


class BudgetList(Schema):
    data = many(fields.Nested(Budget), "In the order they were made", 0, 100, required=True)
    next = fields.String(required=True, allow_none=True, metadata={"description": "Send as `after` for the next page"})
