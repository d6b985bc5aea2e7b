"""The Response object of OpenAI's API, from a request, an answer of the chat task, an error, or a job."""

from collections.abc import Mapping, Sequence
from typing import Any

from llmapi.core.errors import LlmApiError
from llmapi.jobs.job import Job

Json = dict[str, Any]
PREFIX = "resp_"
STATUSES: Mapping[str, str] = {
    "queued": "queued",
    "running": "in_progress",
    "succeeded": "completed",
    "failed": "failed",
    "dead": "failed",
    "cancelled": "cancelled",
}
# What a Response repeats of its request, and what it says where the request said nothing.
REPEATED: Mapping[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "background": False,
}


def response_of(id: str, asked: Json, status: str, created: float, **known: Any) -> Json:
    """Return a Response in some status.

    asked: the request's fields; of these it repeats what OpenAI's does
    known: what is known beyond that: model, output, usage, error, incomplete_details, completed_at
    """
    repeated = {name: asked.get(name, usual) for name, usual in REPEATED.items()}
    return {
        "id": id,
        "object": "response",
        "created_at": created,
        "completed_at": None,
        "status": status,
        "model": asked.get("model", ""),
        "output": [],
        "usage": None,
        "error": None,
        "incomplete_details": None,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": repeated["background"],  # the others are known to nobody once they are sent
        "truncation": "disabled",
        **repeated,
        **known,
    }


def ended(id: str, asked: Json, told: Json, *, created: float, done: float, output: Sequence[Json] = ()) -> Json:
    """Return the Response of an answer; `output` instead of its own items, where a stream has told them already."""
    cut = told["output"]["finish_reason"] == "length"
    return response_of(
        id,
        asked,
        "incomplete" if cut else "completed",
        created,
        completed_at=None if cut else done,
        model=told["model"],
        output=list(output) or items_of(id, told["output"]),
        usage=usage_of(told["usage"]),
        incomplete_details={"reason": "max_output_tokens"} if cut else None,
    )


def items_of(id: str, output: Json) -> list[Json]:
    """Return the chat task's turn as output items: what it says, then what it calls."""
    status = "incomplete" if output["finish_reason"] == "length" else "completed"
    said, calls = output["message"]["content"], output["message"]["tool_calls"]
    items = [message_item(item_id("msg", id, 0), said or "", status)] if said or not calls else []
    for at, call in enumerate(calls, len(items)):
        items.append(call_item(item_id("fc", id, at), call, status))
    return items


def item_id(kind: str, response: str, place: int) -> str:
    """Return the id of the item at a place of a response."""
    return f"{kind}_{response.removeprefix(PREFIX)}_{place}"


def message_item(id: str, text: str | None, status: str) -> Json:
    """Return what the model says; None: it has not begun."""
    content = [] if text is None else [text_part(text)]
    return {"id": id, "type": "message", "role": "assistant", "status": status, "content": content}


def text_part(text: str) -> Json:
    """Return a part that holds a text."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def call_item(id: str, call: Json, status: str) -> Json:
    """Return a function the model wants called."""
    function = call["function"]
    return {
        "id": id,
        "type": "function_call",
        "call_id": call["id"] or id,
        "name": function["name"],
        "arguments": function["arguments"],
        "status": status,
    }


def usage_of(usage: Json) -> Json:
    """Return token counts as the newer of OpenAI's doors tell them."""
    return {
        "input_tokens": usage["input_tokens"],
        "input_tokens_details": {"cached_tokens": usage["cached_tokens"], "cache_write_tokens": 0},
        "output_tokens": usage["output_tokens"],
        "output_tokens_details": {"reasoning_tokens": usage["reasoning_tokens"]},
        "total_tokens": usage["total_tokens"],
    }


def error_of(status: int, message: str) -> Json:
    """Return what a failed Response says; OpenAI has three words that can be said of any failure."""
    code = "rate_limit_exceeded" if status == 429 else "invalid_prompt" if status in (400, 422) else "server_error"
    return {"code": code, "message": message}


def failed(id: str, asked: Json, error: LlmApiError, created: float) -> Json:
    """Return the Response of a call that failed after it had begun."""
    return response_of(id, asked, "failed", created, error=error_of(error.status, error.message))


def of_job(job: Job, asked: Json) -> Json:
    """Return the Response that a job in the background works on, or has made."""
    id, created = PREFIX + job.id, job.created.timestamp()
    if job.result is not None and job.finished is not None:
        return ended(id, asked, dict(job.result), created=created, done=job.finished.timestamp())
    error = error_of(job.error["status"], job.error["message"]) if job.error else None
    return response_of(id, asked, STATUSES[job.status], created, error=error)
