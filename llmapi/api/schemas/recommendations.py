"""/v1/recommendations."""

from marshmallow import Schema, fields, validate

from llmapi.api.schemas.fields import choice, many, part

KINDS = ("cacheable_repeats", "cheaper_model", "prompt_prefix", "oversized_max_tokens", "batch", "unused_budget")


class RecommendationsQuery(Schema):
    days = fields.Integer(
        load_default=7, validate=validate.Range(1, 31), metadata={"description": "How far to look back"}
    )


class Calculation(Schema):
    formula = fields.String(required=True)
    numbers = fields.Dict(
        required=True, metadata={"description": "What stands in the formula; `_nanos` are billionths of a USD"}
    )
    assumes = many(fields.String(), "What is taken for granted and was not measured", 0, 8, required=True)


class Recommendation(Schema):
    kind = choice("What could be better", KINDS, required=True)
    what = fields.String(required=True, metadata={"description": "What to do"})
    about = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata={"example": {"task": "text", "provider": "gemini", "model": "gemini-pro-latest"}},
    )
    saves = fields.String(required=True, metadata={"description": "USD over the range", "example": "12.5"})
    saves_monthly = fields.String(required=True, metadata={"description": "USD in 30 days like these"})
    calculation = part(Calculation, "How it was found, to be done again from the ledger", required=True)


class RecommendationList(Schema):
    start = fields.DateTime(data_key="from", required=True)
    end = fields.DateTime(data_key="to", required=True)
    currency = fields.String(required=True, metadata={"example": "USD"})
    data = many(fields.Nested(Recommendation), "The largest saving first", 0, 10_000, required=True)
