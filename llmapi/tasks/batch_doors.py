"""The endpoints a batch can be sent to, as batches know them: what a body asks for, and how its answer is told.

The doors themselves are the front's (api/openai/batch_doors.py), which hands them down when the application is made.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llmapi.core.errors import LlmApiError
from llmapi.tasks.answers import Json


@dataclass(frozen=True, slots=True)
class Question:
    """What a body asks of a task, and how that task's answer is told at this door."""

    wanted: Json
    show: Callable[[Json], Json]


@dataclass(frozen=True, slots=True)
class Door:
    """One endpoint without HTTP.

    parse: returns the value of a line's JSON; raises LlmApiError
    read: returns what a body under a request id asks; raises ValidationFailed
    error: returns the status and the body that an error has at this door, for a request id
    """

    task: str
    parse: Callable[[bytes], Any]
    read: Callable[[Any, str], Question]
    error: Callable[[LlmApiError, str], tuple[int, Json]]


Doors = Mapping[str, Door]
ENDPOINTS = (
    "/v1/chat/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/text/generate",
    "/v1/code/generate",
    "/v1/classify",
    "/v1/chat",
)
