"""How a door of OpenAI's is described: its errors are in OpenAI's shape, and 400 where ours would be 422."""

from collections.abc import Callable
from typing import Any

from marshmallow import Schema

from llmapi.api.openapi import examples_of
from llmapi.api.parsing import Blueprint
from llmapi.api.schemas.openai_chat import OpenAIError

SHAPE = {"content": {"application/json": {"schema": OpenAIError()}}}
ERRORS: dict[Any, Any] = {
    400: {"description": "The request is not valid", **SHAPE},
    "default": {"description": "Any other error", **SHAPE},
}


def openai_docs(bp: Blueprint, name: str, asked: Schema, told: Schema, *, streams: bool = False) -> Callable[..., Any]:
    """Return the decorator of a door's view; `name` is that of its file in openapi/examples."""
    documented = dict(ERRORS)
    if streams:
        documented[200] = {"content": {"text/event-stream": {"schema": {"type": "object"}}}}

    def decorate(view: Callable[..., Any]) -> Any:
        view = bp.response(200, told)(view)
        view = bp.doc(responses=documented)(view)
        return bp.arguments(asked, examples=examples_of(name), error_status_code=400)(view)

    return decorate
