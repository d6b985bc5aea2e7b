"""/v1/usage and /v1/costs."""

import re
from datetime import UTC, datetime
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from llmapi.api.schemas.fields import many, part
from llmapi.costs.usage_plan import DIMENSIONS

NAME = re.compile(r"[^\x00-\x1f\x7f]{0,128}\Z")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2})\Z")
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
INTERVALS = ("hour", "day", "month", "none")
GROUPS = ", ".join(DIMENSIONS)


class When(fields.DateTime):
    """An RFC 3339 instant, or a date, which is its midnight in UTC."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        text = str(value)
        try:
            if DATE.match(text):
                at = datetime.fromisoformat(text).replace(tzinfo=UTC)
            elif INSTANT.match(text):
                at = datetime.fromisoformat(text.upper()).astimezone(UTC)
            else:
                raise ValueError
        except (ValueError, OverflowError):
            raise ValidationError("Write 2026-11-02 or 2026-11-02T09:30:00Z.") from None
        if not FIRST <= at <= LAST:
            raise ValidationError("Must lie between the years 2000 and 2200.")
        return at


class Groups(fields.Field[tuple[str, ...]]):
    """Names of dimensions, comma separated, each once."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[str, ...]:
        text = str(value)
        named = tuple(part.strip() for part in text.split(",")) if text else ()
        if len(set(named)) != len(named) or not set(named) <= set(DIMENSIONS):
            raise ValidationError(f"Name some of these, each once, comma separated: {GROUPS}.")
        return named


def of(what: str, name: str | None = None) -> fields.String:
    """Return the filter of one dimension."""
    return fields.String(
        data_key=name,
        validate=validate.Regexp(NAME, error="Not a name."),
        metadata={"description": f"Only of this {what}"},
    )


class UsageQuery(Schema):
    start = When(data_key="from", metadata={"description": "From when on; 30 days before `to`'s day if left out"})
    end = When(data_key="to", metadata={"description": "Until when, this not included; now if left out"})
    interval = fields.String(
        load_default="none", validate=validate.OneOf(INTERVALS), metadata={"description": "One row for each; in UTC"}
    )
    by = Groups(
        data_key="group_by",
        load_default=tuple,  # a function: the document then shows no default, which would be no text
        metadata={"type": "string", "description": f"Of: {GROUPS}", "example": "model,task"},
    )
    project = of("project")
    key = of("key, by its public id", "key_id")  # `key` in an address is refused: it might be one
    user = of("user")
    provider = of("provider")
    model = of("model")
    task = of("task")
    cache = of("cache status: miss, hit, semantic, coalesced or bypass")
    experiment = of("variant of an experiment")
    batch = fields.Boolean(metadata={"description": "Only lines of batches, or none of them"})
    tenant = fields.String(
        validate=validate.Regexp(NAME, error="Not a name."),
        metadata={"description": "Another tenant; needs the scope tenants:read, as grouping by tenant does"},
    )
    limit = fields.Integer(
        load_default=100, validate=validate.Range(1, 10_000), metadata={"description": "Most rows of one answer"}
    )
    cursor = fields.String(
        validate=validate.Length(1, 4096), metadata={"description": "`next` of the answer before, to go on after it"}
    )
    format = fields.String(
        validate=validate.OneOf(("json", "csv")), metadata={"description": "Instead of an Accept header"}
    )


class Group(Schema):
    """The values of what was grouped by; others are not there. Empty: nobody was named."""

    tenant = fields.String()
    project = fields.String()
    key = fields.String()
    user = fields.String()
    provider = fields.String()
    model = fields.String()
    task = fields.String()
    cache = fields.String()
    experiment = fields.String()
    batch = fields.Boolean()


class Used(Schema):
    requests = fields.Integer(required=True, metadata={"description": "Calls of a model; a task may make several"})
    failures = fields.Integer(required=True)
    kept = fields.Integer(required=True, metadata={"description": "Answered from a cache or by another's call"})
    input_tokens = fields.Integer(required=True)
    output_tokens = fields.Integer(required=True)
    cached_tokens = fields.Integer(required=True, metadata={"description": "Part of the input"})
    reasoning_tokens = fields.Integer(required=True, metadata={"description": "Part of the output"})
    total_tokens = fields.Integer(required=True)
    duration_s = fields.Float(required=True, metadata={"description": "Seconds of all requests together"})


class Spent(Schema):
    requests = fields.Integer(required=True)
    unpriced_requests = fields.Integer(
        required=True, metadata={"description": "Whose cost nobody knows: they are not in `cost`"}
    )
    cost = fields.String(required=True, metadata={"description": "USD", "example": "0.01325"})
    saved = fields.String(
        required=True, metadata={"description": "USD that kept, shared and local answers would have cost"}
    )


class UsageRow(Used):
    start = fields.DateTime(required=True)
    end = fields.DateTime(required=True)
    group = part(Group, "What was grouped by", required=True)


class CostRow(Spent):
    start = fields.DateTime(required=True)
    end = fields.DateTime(required=True)
    group = part(Group, "What was grouped by", required=True)


class Report(Schema):
    start = fields.DateTime(data_key="from", required=True)
    end = fields.DateTime(data_key="to", required=True)
    interval = fields.String(required=True)
    group_by = fields.List(fields.String(), required=True)
    next = fields.String(required=True, allow_none=True, metadata={"description": "Send as `cursor` for the next page"})


class UsageReport(Report):
    data = many(fields.Nested(UsageRow), "By time, then by group", 0, 10_000, required=True)
    total = part(Used, "Of all pages", required=True)


class CostReport(Report):
    currency = fields.String(required=True, metadata={"example": "USD"})
    data = many(fields.Nested(CostRow), "By time, then by group", 0, 10_000, required=True)
    total = part(Spent, "Of all pages", required=True)
