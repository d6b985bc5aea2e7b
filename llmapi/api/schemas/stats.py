"""GET /stats."""

from marshmallow import Schema, fields

from llmapi.api.schemas.fields import part


def counts(meaning: str) -> fields.Dict:
    """Return an object from names to counts."""
    return fields.Dict(
        keys=fields.String(), values=fields.Integer(), required=True, metadata={"description": meaning}
    )


class LatencyStats(Schema):
    count = fields.Integer(required=True)
    mean = fields.Float(required=True, allow_none=True)
    p50 = fields.Float(required=True, allow_none=True)
    p95 = fields.Float(required=True, allow_none=True)
    p99 = fields.Float(required=True, allow_none=True)
    estimated = fields.List(
        fields.String(), required=True, metadata={"description": "Which of these are estimated, from buckets"}
    )


class RequestStats(Schema):
    total = fields.Integer(required=True)
    by_status = counts("By class: 2xx, 4xx …")
    by_route = counts("By route")


class CallStats(Schema):
    total = fields.Integer(required=True)
    by_task = counts("By task")
    by_status = counts("`ok`, `abandoned` (the reader left), or the error's code")
    latency_ms = part(LatencyStats, "From a call's start to its last piece", required=True)


class CacheStats(Schema):
    hits = fields.Integer(required=True)
    misses = fields.Integer(required=True)
    coalesced = fields.Integer(required=True, metadata={"description": "Shared the answer to the same question"})
    bypass = fields.Integer(required=True)
    hit_ratio = fields.Float(required=True)
    entries = fields.Integer(required=True)


class TokenCounts(Schema):
    input = fields.Integer(required=True)
    output = fields.Integer(required=True)
    cached = fields.Integer(required=True)
    reasoning = fields.Integer(required=True)


class ModelTokens(TokenCounts):
    provider = fields.String(required=True)
    model = fields.String(required=True)


class TokenStats(TokenCounts):
    by_model = fields.List(fields.Nested(ModelTokens), required=True)


class ModelCost(Schema):
    provider = fields.String(required=True)
    model = fields.String(required=True)
    amount = fields.String(required=True, metadata={"example": "0.0015"})
    unpriced_calls = fields.Integer(required=True)


class CostStats(Schema):
    total = fields.String(required=True, metadata={"example": "0.0015"})
    unpriced_calls = fields.Integer(required=True, metadata={"description": "Calls whose price nobody knows"})
    by_model = fields.List(fields.Nested(ModelCost), required=True)


class ProviderStats(Schema):
    provider = fields.String(required=True)
    calls = fields.Integer(required=True)
    failures = fields.Integer(required=True)


class JobQueue(Schema):
    queued = fields.Integer(required=True)
    running = fields.Integer(required=True)
    dead = fields.Integer(required=True)
    oldest_s = fields.Float(required=True, metadata={"description": "How long the oldest job waits that may run"})
    retries = fields.Integer(required=True, metadata={"description": "Attempts after the first"})
    run_ms = part(LatencyStats, "From the start of the last attempt to the end", required=True)


class Statistics(Schema):
    since = fields.DateTime(required=True)
    uptime_s = fields.Float(required=True)
    requests = part(RequestStats, "HTTP requests", required=True)
    latency_ms = part(LatencyStats, "Of HTTP requests, until the answer began", required=True)
    calls = part(CallStats, "Questions to models, kept answers among them", required=True)
    cache = part(CacheStats, "What the cache did", required=True)
    tokens = part(TokenStats, "Tokens providers are paid for", required=True)
    cost_usd = part(CostStats, "US dollars, as decimal strings", required=True)
    errors = counts("Failed calls by their error's code")
    retries = fields.Integer(required=True, metadata={"description": "Askings after the first of a call"})
    attempts = counts("Askings of a provider by status")
    providers = fields.List(fields.Nested(ProviderStats), required=True)
    jobs = counts("How often a job entered each status")
    job_queue = part(JobQueue, "What waits, now", required=True)
