"""The tables within the settings: what a task, a route, a price, a vendor is made of."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from llmapi.core.routing import USUAL_FALLBACK, Balance, Failure, Policy
from llmapi.providers.routes import Route


LONGEST = 3_155_760_000.0  # a hundred years in seconds: what is longer cannot be added to a date


def knob(default: Any, meaning: str, **bounds: Any) -> Any:
    """Declare a setting; `bounds` are pydantic's (ge, le, …). No number that may be broken is endless."""
    if isinstance(default, float) or {"gt", "ge"} & bounds.keys() and default is None:
        bounds.setdefault("le", LONGEST)
    return Field(default, description=meaning, **bounds)


class TaskSettings(BaseModel):
    """What a task uses when the caller does not say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = knob("", "model or alias; empty: the alias of the task's name")
    temperature: float = knob(0.7, "0 to 2", ge=0, le=2)
    max_tokens: int = knob(512, "most tokens of an answer", ge=1, le=65_536)
    system: str = knob("", "system prompt when the caller gives none")
    timeout: float = knob(60.0, "seconds a request may take in all", gt=0, le=600)
    cache_ttl: float | None = knob(None, "most seconds a kept answer stays good; empty: as cache_ttl says", gt=0)
    stale_while_revalidate: float = knob(
        0.0, "seconds past its time a kept answer is still given, and renewed behind it", ge=0, le=604_800
    )
    stale_if_error: float = knob(
        0.0, "seconds past its time a kept answer is given when no provider gives one", ge=0, le=604_800
    )
    max_error: float = knob(
        0.0, "share of wrong answers accepted for answers by meaning (text code classify chat); 0: none", ge=0, le=0.2
    )


class SemanticSettings(BaseModel):
    """The cache by meaning, for those who ask for it with `max_error`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tenants: dict[str, Annotated[float, Field(ge=0, le=0.2)]] = knob(
        {}, "max_error by tenant, when the request says none; it wins over the task's"
    )
    policy: str = knob("vote", "vote, vcache, or fixed:<cosine>, which keeps no bound")
    entries: int = knob(10_000, "most questions a worker keeps", ge=1, le=1_000_000)
    megabytes: float = knob(64.0, "most memory of their texts and answers in a worker", gt=0, le=65_536)
    url: str = knob("", "share them between workers: redis://… (Redis 8: vector sets) or postgresql://… (pgvector)")
    max_temperature: float = knob(1.0, "calls hotter than this get no answer by meaning", ge=0, le=2)
    volatile_ttl: float = knob(120.0, "seconds an answer is kept whose truth changes by itself", gt=0)
    judge_model: str = knob("", "model or alias that compares answers of text, code and chat; empty: the call's own")
    judge_share: float = knob(0.45, "most judge calls, as a share of a tenant's requests by meaning", ge=0, le=1)


class Limits(BaseModel):
    """One rate limit per route group, in flask-limiter's words; the caller's key (or address) is counted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str = knob("120/minute", "POST /v1/text/generate")
    code: str = knob("120/minute", "POST /v1/code/generate")
    classify: str = knob("240/minute", "POST /v1/classify")
    chat: str = knob("120/minute", "POST /v1/chat")
    chat_completions: str = knob("120/minute", "POST /v1/chat/completions")
    responses: str = knob("120/minute", "POST /v1/responses")
    kept_responses: str = knob("600/minute", "/v1/responses/{id}")
    embeddings: str = knob("240/minute", "POST /v1/embeddings")
    decisions: str = knob("120/minute", "POST /v1/decisions")
    files: str = knob("240/minute", "/v1/files")
    batches: str = knob("240/minute", "/v1/batches")
    streams: str = knob("600/minute", "GET /v1/streams/{id}")
    websocket: str = knob("120/minute", "GET /v1/ws and POST /v1/ws/tickets; its calls count for their own routes")
    jobs: str = knob("600/minute", "/v1/jobs")
    dead_letters: str = knob("600/minute", "/v1/jobs/dead-letters")
    job_events: str = knob("240/minute", "GET /v1/jobs/{id}/events")
    webhooks: str = knob("600/minute", "/v1/webhooks")
    audit: str = knob("600/minute", "GET /v1/audit")
    me: str = knob("600/minute", "GET /v1/me")
    keys: str = knob("240/minute", "/v1/keys")
    projects: str = knob("240/minute", "/v1/projects")
    tenants: str = knob("240/minute", "/v1/tenants")
    plans: str = knob("600/minute", "/v1/plans")
    provider_keys: str = knob("240/minute", "/v1/provider-keys")
    signing_secrets: str = knob("60/minute", "/v1/keys/{id}/signing-secret")
    usage: str = knob("240/minute", "GET /v1/usage")
    costs: str = knob("240/minute", "GET /v1/costs")
    budgets: str = knob("600/minute", "/v1/budgets")
    recommendations: str = knob("20/minute", "GET /v1/recommendations")
    cache: str = knob("240/minute", "/v1/cache")
    cache_lookups: str = knob("240/minute", "/v1/cache/lookup")
    feedback: str = knob("240/minute", "POST /v1/feedback")
    models: str = knob("600/minute", "GET /v1/models")
    invoke: str = knob("120/minute", "POST /invoke")
    query: str = knob("120/minute", "POST /api/query")
    stats: str = knob("600/minute", "GET /stats")
    operations: str = knob("600/minute", "/health and /metrics")
    docs: str = knob("600/minute", "/docs and /openapi.json")


class QuotaSettings(BaseModel):
    """How much may be used, by those who are under no plan. 0: any number."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens_per_minute: int = knob(0, "tokens a tenant uses in any minute; 0: any number", ge=0)
    tokens_per_day: int = knob(0, "tokens a tenant uses in any 24 hours; 0: any number", ge=0)
    key_tokens_per_minute: int = knob(0, "the same for each key", ge=0)
    key_tokens_per_day: int = knob(0, "the same for each key", ge=0)
    user_tokens_per_minute: int = knob(0, "the same for each user a key names", ge=0)
    user_tokens_per_day: int = knob(0, "the same for each user a key names", ge=0)
    key_concurrency: int = knob(0, "requests to models a key has under way at once, over all workers", ge=0)
    models: dict[str, str] = knob(
        {}, "by `provider/model` how often each tenant may ask for it, e.g. `100/minute; 50000 tokens/day`"
    )


class Price(BaseModel):
    """What a model costs, in USD for a million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = knob(0.0, "input", ge=0)
    output: float = knob(0.0, "output", ge=0)
    cached: float | None = knob(None, "input served from the vendor's cache; empty: as input")


class Vendor(BaseModel):
    """A further vendor that speaks OpenAI's format."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str = knob(..., "e.g. https://llm.example.org/v1")
    key_name: str = knob("", "environment variable that holds its key; empty: it needs none")
    abilities: tuple[str, ...] = knob(("chat", "stream"), "of: chat stream json_schema logprobs votes embeddings")


class Candidate(BaseModel):
    """One model of a route."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = knob(..., "model, alias or other route")
    weight: float = knob(1.0, "its share where the balance goes by weight; 0: only when the others fail", ge=0)


class RouteRow(BaseModel):
    """A name for several models, and the rules among them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    candidates: tuple[Candidate, ...] = knob(..., "best first; a bare name is a candidate of weight 1", min_length=1)
    balance: Balance = knob("ordered", "ordered weighted round_robin least_in_flight lowest_latency")
    fallback: frozenset[Failure] = knob(
        USUAL_FALLBACK, "after which failures the next is asked: unavailable throttled timeout invalid context blocked"
    )
    ask_in_doubt: bool = knob(False, "ask again after a read timeout too, though the first asking may be paid for")
    attempt_timeout: float | None = knob(None, "seconds of one asking to its first chunk; empty: all there are", gt=0)

    def route(self) -> Route:
        """Return it as the catalog knows it."""
        policy = Policy(
            balance=self.balance,
            fallback=self.fallback,
            ask_in_doubt=self.ask_in_doubt,
            attempt_timeout=self.attempt_timeout,
        )
        return Route(tuple((each.model, each.weight) for each in self.candidates), policy)

    @field_validator("candidates", mode="before")
    @classmethod
    def _bare_names(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return [{"model": each} if isinstance(each, str) else each for each in value]


class ModelRow(BaseModel):
    """A further model, under `provider/model`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    context: int = knob(0, "tokens it takes in; 0: unknown", ge=0)
    abilities: tuple[str, ...] | None = knob(None, "as for a vendor; empty: its vendor's")
    description: str = knob("", "what it is good for")
