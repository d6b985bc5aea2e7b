"""A task as a job: the same line as over HTTP, minus HTTP."""

from collections.abc import Mapping
from typing import Any, Protocol

from llmapi.core.identity import Payer
from llmapi.core.lifetime import Lifetime
from llmapi.tasks.answers import Json
from llmapi.tasks.runner import Caller, Tasks

KIND = "task"


class Context(Protocol):
    """What a job's run is given; jobs/threads.py has the whole of it."""

    @property
    def tenant(self) -> str: ...
    @property
    def arguments(self) -> Mapping[str, Any] | None: ...
    @property
    def request_id(self) -> str: ...
    @property
    def lifetime(self) -> Lifetime: ...
    @property
    def priority(self) -> int: ...


class TaskJob:
    """Runs `{"task": name, "request": …, "payer": …}`, whose request was checked when it was accepted."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    def __call__(self, job: Context) -> Json:
        """Return the task's answer; raises LlmApiError."""
        wanted = job.arguments or {}
        payer = Payer(**wanted.get("payer", {}))
        caller = Caller(job.tenant, job.request_id, job.lifetime, payer=payer, priority=job.priority)
        return self._tasks.answer(wanted["task"], wanted["request"], caller)
