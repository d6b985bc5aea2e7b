"""POST /invoke and POST /api/query, and the front door."""

import re

from marshmallow import Schema, ValidationError, fields

from llmapi.api.schemas.common import printable
from llmapi.api.schemas.fields import choice, flag, many, number, part, string, whole

OPENAI_KEY = re.compile(r"sk-[A-Za-z0-9_.-]{3,250}")


def openai_key(text: str) -> None:
    """Refuse what cannot be a key of OpenAI's."""
    if not OPENAI_KEY.fullmatch(text):
        raise ValidationError("Invalid OpenAI API key format")


class InvokeTurn(Schema):
    type = choice("Who speaks", ("human", "ai", "system"), required=True)
    content = string("What was said", 1, required=True)


class InvokeRequest(Schema):
    request_id = fields.String(
        required=True,
        validate=printable,
        metadata={
            "description": "Sent again with the same body it gets the same answer; 1 to 255 printable characters",
            "example": "550e8400-e29b-41d4-a716-446655440000",
            "pattern": "^[ -~]{1,255}$",
        },
    )
    user_prompt = string("The question", 1, required=True, example="Explain quantum computing in simple terms")
    system_prompt = string("How to behave; left out: the task's setting", 0, 32_000, allow_none=True)
    messages = many(
        fields.Nested(InvokeTurn), "The conversation before `user_prompt`, or with it as its end", 0, 256,
        allow_none=True,
    )
    openai_api_key = fields.String(
        validate=openai_key,
        allow_none=True,
        metadata={"description": "`sk-…`: pay with this key, which is kept nowhere; left out: the server's own models"},
    )
    model = string(
        "A model or an alias; left out: `gpt-4o-mini` with an own key, else the text task's", 1, 200, allow_none=True
    )
    temperature = number("0 is steady, 2 is wild; left out: the task's setting", 0, 2, allow_none=True)
    max_tokens = whole("Most tokens of the answer; left out: the task's setting", 1, 65_536, allow_none=True)


class InvokeData(Schema):
    response = fields.String(required=True)
    confidence = fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "Geometric mean probability of the answer's tokens; null when the model shows none"},
    )


class InvokeUsage(Schema):
    prompt_tokens = fields.Integer(required=True)
    completion_tokens = fields.Integer(required=True)
    total_tokens = fields.Integer(required=True)


class InvokePerformance(Schema):
    request_latency_ms = fields.Float(required=True)
    llm_latency_ms = fields.Float(required=True)
    cache_hit = fields.Boolean(required=True)
    retry_count = fields.Integer(required=True, metadata={"description": "Askings of a model after the first"})
    rate_limited = fields.Boolean(required=True, metadata={"description": "Whether a vendor asked to slow down"})


class InvokeAnswer(Schema):
    success = fields.Boolean(required=True)
    request_id = fields.String(required=True)
    data = part(InvokeData, "The answer", required=True)
    usage = part(InvokeUsage, "Tokens", required=True)
    performance = part(InvokePerformance, "How it went", required=True)
    model = fields.String(required=True)
    cached = fields.Boolean(required=True)
    timestamp = fields.DateTime(required=True)
    error = fields.Dict(required=True, allow_none=True, metadata={"description": "null"})


class InvokeProblem(Schema):
    error_type = fields.String(required=True, metadata={"example": "validation_error"})
    error_code = fields.String(required=True, metadata={"example": "INVALID_API_KEY"})
    message = fields.String(required=True)
    field = fields.String(required=True, allow_none=True, metadata={"description": "The field that is wrong"})
    details = fields.Dict(required=True, allow_none=True)


class InvokeFailure(Schema):
    success = fields.Boolean(required=True, metadata={"example": False})
    request_id = fields.String(required=True, metadata={"description": "The body's; the header's, if it has none"})
    error = part(InvokeProblem, "What went wrong", required=True)
    timestamp = fields.DateTime(required=True)


class QueryRequest(Schema):
    query = string("The question", 1, required=True, example="What is the capital of France?")


class QueryAnswer(Schema):
    response = fields.String(required=True)
    cached = flag("Whether this is a kept answer", required=True)
    source = choice("Where it came from", ("cache", "model"), required=True)
    model = fields.String(required=True)
    latency_ms = fields.Float(required=True)


class Welcome(Schema):
    status = fields.String(required=True, metadata={"example": "ok"})
    service = fields.String(required=True, metadata={"example": "llmapi"})
    version = fields.String(required=True)
    docs = fields.String(required=True, allow_none=True, metadata={"example": "/docs"})
