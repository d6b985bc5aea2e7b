"""The doors a batch can be sent through, without HTTP: the same schemas, translations and errors as at their addresses.
"""

import time
from collections.abc import Callable
from typing import Any

from marshmallow import Schema, ValidationError

from llmapi.api.errors import problem
from llmapi.api.openai import chat, embeddings, responses
from llmapi.api.openai.errors import openai_error
from llmapi.api.openai.response_shapes import PREFIX, ended
from llmapi.api.parsing import flattened
from llmapi.api.schemas.chat import ChatRequest
from llmapi.api.schemas.classify import ClassifyRequest
from llmapi.api.schemas.code import CodeRequest
from llmapi.api.schemas.openai_chat import ChatCompletionRequest
from llmapi.api.schemas.openai_embeddings import EmbeddingsRequest
from llmapi.api.schemas.openai_responses import ResponsesRequest
from llmapi.api.schemas.text import TextRequest
from llmapi.api.strict_json import strict_loads
from llmapi.core.errors import LlmApiError, ValidationFailed
from llmapi.tasks.batch_doors import Door, Doors, Question

Json = dict[str, Any]
Read = Callable[[Json, str], Question]
AT_ONCE = ("stream", "background", "dry_run")  # wishes of somebody who waits for the answer


def doors() -> Doors:
    """Return every endpoint of tasks/batch_doors.py."""
    return {
        "/v1/chat/completions": openai_door("chat", ChatCompletionRequest(), of_chat_completions),
        "/v1/embeddings": openai_door("embed", EmbeddingsRequest(), of_embeddings),
        "/v1/responses": openai_door("chat", ResponsesRequest(), of_responses),
        "/v1/text/generate": own_door("text", TextRequest()),
        "/v1/code/generate": own_door("code", CodeRequest()),
        "/v1/classify": own_door("classify", ClassifyRequest()),
        "/v1/chat": own_door("chat", ChatRequest()),
    }


def openai_door(task: str, schema: Schema, read: Read) -> Door:
    """Return a door that speaks OpenAI's language."""
    return Door(task, strict_loads, lambda body, id: read(checked(schema, body), id), openai_wrong)


def own_door(task: str, schema: Schema) -> Door:
    """Return one of our own."""
    return Door(task, strict_loads, lambda body, _: of_ours(checked(schema, body)), own_wrong)


def checked(schema: Schema, body: Any) -> Json:
    """Return a body as its door loads it; raises ValidationFailed."""
    try:
        asked: Json = schema.load(body)
    except ValidationError as error:
        raise refused(list(flattened(error.messages))) from None
    if wishes := [(name, "Not in a batch: nobody waits for its lines.") for name in AT_ONCE if asked.pop(name, False)]:
        raise refused(wishes)
    return asked


def refused(wrong: list[tuple[str, str]]) -> ValidationFailed:
    """Return the error for wrong fields."""
    fields: dict[str, list[str]] = {}
    for name, said in wrong:
        fields.setdefault(name or "body", []).append(said)
    return ValidationFailed("; ".join(f"{name}: {said[0]}" for name, said in fields.items())[:500], fields=fields)


def of_chat_completions(asked: Json, _: str) -> Question:
    """Return what a chat completion asks."""
    return Question(chat.task_request(asked), chat.completion)


def of_embeddings(asked: Json, _: str) -> Question:
    """Return what a request for embeddings asks."""
    return Question(embeddings.task_request(asked), embeddings.listed)


def of_responses(asked: Json, id: str) -> Question:
    """Return what a request for a response asks."""
    begun = float(int(time.time()))

    def show(told: Json) -> Json:
        return ended(PREFIX + id, asked, told, created=begun, done=float(int(time.time())))

    return Question(responses.task_request(asked), show)


def of_ours(asked: Json) -> Question:
    """Return what a request at one of our own doors asks; custom_id does what request_id would."""
    return Question({name: value for name, value in asked.items() if name != "request_id"}, dict)


def openai_wrong(error: LlmApiError, _: str) -> tuple[int, Json]:
    """Return the status and body of an error as OpenAI would write it."""
    return 400 if error.status == 422 else error.status, openai_error(error)


def own_wrong(error: LlmApiError, id: str) -> tuple[int, Json]:
    """Return the status and body of an error of ours."""
    return error.status, problem(error, id)
