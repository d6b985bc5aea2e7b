"""/v1/cache and /v1/feedback."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from llmapi.api.schemas.common import once
from llmapi.api.schemas.fields import choice, flag, many, number, part, string, whole
from llmapi.api.schemas.jobs import STATUSES, TASKS
from llmapi.api.schemas.usage import When
from llmapi.cache.clearing import DECADE
from llmapi.tasks.warm_questions import MOST

ONE_OF = ("cache_key", "tag", "model", "template", "task", "all")


def yes(meaning: str) -> fields.Boolean:
    """Return a parameter that is true or left out."""
    return fields.Boolean(validate=validate.Equal(True, error="true, or left out."), metadata={"description": meaning})


class ClearQuery(Schema):
    cache_key = string("The answer under this key, as a lookup tells it", 1, 200)  # a `key` in an address is a secret
    tag = string("Answers with this tag, e.g. one the request gave in `cache.tags`", 1, 64)
    model = string("Answers of this model: `model` or `provider/model`", 1, 300)
    template = string("Answers to this prompt template: its name, or `name@version`", 1, 128)
    task = choice("Answers of this task", (*TASKS, "embed", "decisions"))
    all = yes("Every answer")
    older_than_s = fields.Float(
        validate=validate.Range(0, DECADE),
        metadata={"description": "Only what was asked for longer ago than so many seconds"},
    )
    everyone = yes("Of all tenants; needs the scope tenants:write, which operators have")

    @validates_schema(skip_on_field_errors=True)
    def one_thing(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse what names nothing, or two things."""
        named = [name for name in ONE_OF if name in data]
        if len(named) > 1 or not (named or "older_than_s" in data or "everyone" in data):
            raise ValidationError(f"Name one of these: {', '.join(ONE_OF)}, older_than_s.", "all")


class Cleared(Schema):
    field = choice("What was named", ("key", "tag", "model", "task", "all"), required=True)
    value = fields.String(required=True, metadata={"description": "Its value; a template is the tag `template:NAME`"})
    before = fields.DateTime(required=True, metadata={"description": "What was asked for earlier is served no more"})
    tenants = fields.Integer(required=True, metadata={"description": "How many tenants' answers are meant"})
    workers_within_s = fields.Float(
        required=True, metadata={"description": "Seconds until it holds in every worker; in this one it does already"}
    )


class StatsQuery(Schema):
    start = When(data_key="from", metadata={"description": "From when on; 30 days before `to`'s day if left out"})
    end = When(data_key="to", metadata={"description": "Until when, this not included; now if left out"})


class Hits(Schema):
    exact = fields.Integer(required=True, metadata={"description": "The very same question had been answered"})
    semantic = fields.Integer(required=True, metadata={"description": "One of the same meaning had been"})
    coalesced = fields.Integer(required=True, metadata={"description": "Another call was about to bring the answer"})
    miss = fields.Integer(required=True)
    bypass = fields.Integer(required=True, metadata={"description": "The call left the cache out"})


class Saved(Schema):
    amount = fields.String(required=True, metadata={"description": "What those would have cost", "example": "1.2"})
    currency = choice("Always USD", ("USD",), required=True)
    seconds = fields.Float(
        required=True,
        metadata={"description": "What misses of the same task and model took on average, less what kept answers took"},
    )


class SemanticError(Schema):
    estimate = fields.Float(
        required=True, allow_none=True, metadata={"description": "Share of answers by meaning that were wrong"}
    )
    low = fields.Float(required=True, allow_none=True, metadata={"description": "Lower end of the 95 % interval"})
    high = fields.Float(required=True, allow_none=True, metadata={"description": "Upper end"})
    n = fields.Integer(required=True, metadata={"description": "Answers by meaning that were checked; 0: nobody knows"})


class CacheReport(Schema):
    start = fields.DateTime(data_key="from", required=True)
    end = fields.DateTime(data_key="to", required=True)
    calls = part(Hits, "Calls of models by what the cache did", required=True)
    hit_share = fields.Float(
        required=True, allow_none=True, metadata={"description": "Of calls that might have had a kept answer"}
    )
    saved = part(Saved, "What that saved", required=True)
    semantic_error = part(SemanticError, "How often answers by meaning were wrong", required=True)
    semantic = fields.Dict(required=True, metadata={"description": "Your entries by meaning in this worker, and bytes"})
    worker = fields.Dict(
        required=True, metadata={"description": "The exact cache of this worker, all tenants' together: entries, bytes"}
    )


class LookupQuery(Schema):
    cache_key = string("A key, as POST tells it", 1, 200, required=True)


class LookupRequest(Schema):
    task = choice("Which task", TASKS, required=True)
    request = fields.Dict(required=True, metadata={"description": "The request, as the task's own route takes it"})


class LookedAt(Schema):
    key = fields.String(required=True, metadata={"description": "What its answer is kept under"})
    status = choice("What the cache would do", ("hit", "semantic", "miss"), required=True)
    reason = fields.String(
        required=True, allow_none=True, metadata={"description": "Why the exact cache does not answer"}
    )
    exact = fields.Dict(required=True, allow_none=True, metadata={"description": "What is known of the kept answer"})
    semantic = fields.Dict(
        required=True,
        allow_none=True,
        metadata={
            "description": "What the cache by meaning would do: nearest entries with similarity and probability, and"
            " the gate or guard that refuses; null where it need not be asked"
        },
    )


class LookupAnswer(Schema):
    would_hit = fields.Boolean(required=True, metadata={"description": "Whether all of them would be answered"})
    calls = many(fields.Nested(LookedAt), "The model calls the request takes", 0, 1000, required=True)


class WarmRequest(Schema):
    task = choice("Which task", TASKS, required=True)
    requests = many(
        fields.Dict(), "Requests, each as the task's own route takes it; or `file`, or `top`", 1, MOST
    )
    file = string("The id of an uploaded file: one request a line, plain or as a line of a batch", 1, 64)
    top = whole("Your so many most asked requests of the task, where the operator has them kept", 1, MOST)
    refresh = flag("Ask for new answers, also where some are kept", load_default=False)
    priority = whole("9 is first, 0 is last; a waiting job rises by one every minute", 0, 9, load_default=2)
    timeout = number("Seconds the job may take; the server's own limit stays", 0.1, 86_400)
    request_id = once()

    @validates_schema(skip_on_field_errors=True)
    def one_source(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse what names no questions, or two sources of them."""
        if sum(name in data for name in ("requests", "file", "top")) != 1:
            raise ValidationError("Give either requests, file or top.", "requests")


class WarmAccepted(Schema):
    id = fields.String(required=True, metadata={"example": "job_01kexample0000000000000000"})
    status = choice("Where it stands", STATUSES, required=True)
    reaches = choice(
        "Whose cache gets warm: all workers' where they share one (LLMAPI_CACHE_URL), else that of the worker which"
        " does the job",
        ("all_workers", "one_worker"),
        required=True,
    )


class FeedbackRequest(Schema):
    id = string("Of an answer, or what `cache.entry` names: the entry it was served from", 1, 255, required=True)
    good = flag("Whether the answer was right", required=True)
    evict = flag("Serve the kept answer to nobody any more", load_default=False)


class FeedbackTaken(Schema):
    id = fields.String(required=True)
    learned = fields.Boolean(required=True, metadata={"description": "It will be weighed by the cache by meaning"})
    evicted = fields.Boolean(required=True)
