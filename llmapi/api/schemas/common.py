"""What every task's request and answer have in common."""

import re

from marshmallow import Schema, ValidationError, fields

from llmapi.api.schemas.fields import choice, flag, many, number, part, string, whole

PRINTABLE = re.compile(r"[ -~]{1,255}")


def printable(text: str) -> None:
    """Refuse what is no id."""
    if not PRINTABLE.fullmatch(text):
        raise ValidationError("1 to 255 printable ASCII characters.")


class CacheWish(Schema):
    mode = choice(
        "`use` kept answers, `refresh` them, `bypass` the cache, or take `only` a kept one; left out: what"
        " Cache-Control says, else `use`",
        ("use", "refresh", "bypass", "only"),
    )
    ttl = number("Seconds to keep this answer, and the oldest kept answer to accept", 1, 31_536_000)
    stale_while_revalidate = number(
        "Seconds past its time a kept answer is taken at once, and renewed behind it", 0, 604_800
    )
    stale_if_error = number("Seconds past its time a kept answer is taken when no provider gives one", 0, 604_800)
    tags = many(string("A word of your own", 1, 64), "Words under which the answer can be invalidated later", 0, 8)
    max_error = number(
        "Accept the kept answer to a question of the same meaning, as long as at most this share of all such requests"
        " gets a wrong answer; 0: to the very same question only; left out: the setting", 0, 0.2, example=0.01,
    )  # fmt: skip


def once() -> fields.String:
    """Declare the id of a request that is worked on once."""
    said = "Sent again with the same body it gets the same answer, as with Idempotency-Key"
    return fields.String(validate=printable, metadata={"description": said, "pattern": "^[ -~]{1,255}$"})


class TaskRequest(Schema):
    model = string("A model or an alias of GET /v1/models; left out: the task's default", 1, 200)
    temperature = number("0 is steady, 2 is wild; left out: the task's setting", 0, 2)
    max_tokens = whole("Most tokens of the answer; left out: the task's setting", 1, 65_536)
    top_p = number("Nucleus sampling: the share of probability to draw from", 0, 1)
    stop = many(string("A text", 1, 200), "Texts that end the answer", 1, 4)
    seed = whole("The same seed asks for the same answer, where the provider can", 0, 2**31 - 1)
    cache = part(CacheWish, "What the cache may do for this call; Cache-Control says the same")
    request_id = once()
    dry_run = flag("Tell tokens, the upper bound of the cost and whether the cache would answer; ask no model")


class Usage(Schema):
    input_tokens = fields.Integer(required=True)
    output_tokens = fields.Integer(required=True)
    cached_tokens = fields.Integer(required=True, metadata={"description": "Part of the input the vendor had kept"})
    reasoning_tokens = fields.Integer(required=True, metadata={"description": "Part of the output spent thinking"})
    total_tokens = fields.Integer(required=True)


class Cost(Schema):
    amount = fields.String(
        required=True, allow_none=True, metadata={"description": "USD; null when unpriced", "example": "0.000125"}
    )
    currency = choice("Always USD", ("USD",), required=True)
    status = choice("Whether the price is known", ("priced", "free", "unpriced"), required=True)


class CacheFacts(Schema):
    status = choice("Where the answer came from", ("miss", "hit", "semantic", "coalesced", "bypass"), required=True)
    age_s = fields.Float(required=True, allow_none=True, metadata={"description": "Seconds a kept answer is old"})
    similarity = fields.Float(
        required=True, allow_none=True, metadata={"description": "Cosine to the nearest kept question"}
    )
    stale = flag("Given although its time is over, as the call or its task allows")
    ttl_s = fields.Float(metadata={"description": "Of a stale answer: seconds past its time, below 0"})
    probability = fields.Float(
        allow_none=True, metadata={"description": "By meaning: how likely the kept answer is right"}
    )
    entry = fields.String(
        allow_none=True, metadata={"description": "By meaning: the kept question that was served; feedback names it"}
    )
    reason = fields.String(
        metadata={
            "description": "By meaning: why it was served or not, e.g. `served`, `cold`, `below threshold`, `explore`,"
            " `gate:volatile`, `veto:numbers`"
        }
    )


class Attempt(Schema):
    provider = fields.String(required=True)
    model = fields.String(required=True)
    status = fields.String(required=True, metadata={"description": "`ok` or the code of the error", "example": "ok"})
    wait_ms = fields.Float(required=True, metadata={"description": "Milliseconds waited before this try"})


class Timing(Schema):
    total_ms = fields.Float(required=True)
    provider_ms = fields.Float(required=True)
    overhead_ms = fields.Float(required=True)


class TaskAnswer(Schema):
    id = fields.String(required=True, metadata={"example": "req_01kexample0000000000000000"})
    task = fields.String(required=True)
    model = fields.String(required=True)
    provider = fields.String(required=True)
    usage = part(Usage, "Tokens", required=True)
    cost = part(Cost, "What it cost", required=True)
    cache = part(CacheFacts, "What the cache did", required=True)
    attempts = fields.List(fields.Nested(Attempt), required=True)
    timing = part(Timing, "Milliseconds", required=True)
    created = fields.DateTime(required=True)
    estimate = fields.Nested(lambda: Estimate(), metadata={"description": "Of a dry run only; `output` is then null"})


class Estimate(Schema):
    input_tokens = fields.Integer(required=True, metadata={"description": "A guess from the length of the text"})
    input_tokens_bound = fields.Integer(required=True, metadata={"description": "Never less than the real number"})
    output_tokens_bound = fields.Integer(required=True)
    calls = fields.Integer(required=True, metadata={"description": "Most calls the task may make (votes, repairs)"})
    cost_bound = part(Cost, "What it can cost at most", required=True)
    would_hit = flag("Whether the cache would answer", required=True)


class FieldError(Schema):
    field = fields.String(required=True)
    message = fields.String(required=True)


class Problem(Schema):
    """RFC 9457's problem details."""

    type = fields.String(required=True, metadata={"example": "urn:llmapi:problem:validation_error"})
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    code = fields.String(required=True, metadata={"description": "Stable", "example": "validation_error"})
    request_id = fields.String(required=True)
    errors = fields.List(fields.Nested(FieldError), metadata={"description": "Each wrong field"})
    attempts = fields.List(fields.Nested(Attempt))
    details = fields.Dict()
