"""What /invoke asks, answers and fails with, in its own words: plain values in, plain values out."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from llmapi.core.clock import rfc3339
from llmapi.core.errors import LlmApiError
from llmapi.tasks.answers import attempt_of

Json = dict[str, Any]

ROLES = {"human": "user", "ai": "assistant", "system": "system"}
KEPT = frozenset({"hit", "semantic"})  # cache words of an answer nobody was asked for anew
KEY = "openai_api_key"
STATUSES = {422: 400, 502: 503, 504: 503, 507: 503}  # the document knows fewer
TYPES = {
    401: "authentication_error",
    402: "budget_error",
    403: "permission_error",
    409: "duplicate_request",
    429: "rate_limit_error",
    500: "internal_error",
    503: "service_unavailable",
}


def question_of(asked: Mapping[str, Any], model: str) -> Json:
    """Return what the text task is asked: the messages, the prompt as their last; model "" is the task's own."""
    turns = [{"role": ROLES[turn["type"]], "content": turn["content"]} for turn in asked.get("messages", ())]
    last = {"role": "user", "content": asked["user_prompt"]}
    if not turns or turns[-1] != last:
        turns.append(last)
    wanted = {name: asked[name] for name in ("temperature", "max_tokens") if name in asked}
    if "system_prompt" in asked:
        wanted["system"] = asked["system_prompt"]
    if model:
        wanted["model"] = model
    return {**wanted, "messages": turns, "confidence": True}


def answer_of(told: Mapping[str, Any], request_id: str, latency_ms: float) -> Json:
    """Return a task's answer as the document shows it; `latency_ms` is of the whole request."""
    usage, cached = told["usage"], told["cache"]["status"] in KEPT
    statuses = [attempt["status"] for attempt in told["attempts"]]
    return {
        "success": True,
        "request_id": request_id,
        "data": {"response": told["output"]["text"], "confidence": told["output"]["confidence"]},
        "usage": {
            "prompt_tokens": usage["input_tokens"],
            "completion_tokens": usage["output_tokens"],
            "total_tokens": usage["total_tokens"],
        },
        "performance": {
            "request_latency_ms": latency_ms,
            "llm_latency_ms": told["timing"]["provider_ms"],
            "cache_hit": cached,
            "retry_count": max(0, len(statuses) - 1),
            "rate_limited": "provider_throttled" in statuses,
        },
        "model": told["model"],
        "cached": cached,
        "timestamp": told["created"],
        "error": None,
    }


def status_of(error: LlmApiError) -> int:
    """Return the status the document gives to an error."""
    return STATUSES.get(error.status, error.status)


def failure_of(error: LlmApiError, request_id: str, at: datetime) -> Json:
    """Return an error as the document shows it; of several wrong fields the key first, the others in `details`."""
    field = KEY if KEY in error.fields else next(iter(error.fields), None)
    status = status_of(error)
    usual = "validation_error" if status < 500 else "service_error"
    return {
        "success": False,
        "request_id": request_id,
        "error": {
            "error_type": TYPES.get(status, usual),
            "error_code": "INVALID_API_KEY" if field == KEY else error.code.upper(),
            "message": error.fields[field][0] if field else error.message,
            "field": field,
            "details": details_of(error, field) or None,
        },
        "timestamp": rfc3339(at),
    }


def details_of(error: LlmApiError, field: str | None) -> Json:
    """Return what else is known of an error."""
    told: Json = dict(error.details)
    if field == KEY:
        told["expected_format"] = "sk-..."
    if len(error.fields) > 1:
        told["errors"] = [{"field": name, "message": said[0]} for name, said in error.fields.items()]
    if error.attempts:
        told["attempts"] = [attempt_of(each) for each in error.attempts]
    return told
