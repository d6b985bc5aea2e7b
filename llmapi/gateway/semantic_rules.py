"""Who is served by meaning, and what is refused whatever is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from llmapi.core.calls import Call

KINDS: Final = {"text": "text", "code": "code", "chat": "text", "classify": "classification"}  # tasks served by meaning


@dataclass(frozen=True, slots=True)
class Rules:
    """Who is served by meaning when the request says nothing, and what is refused.

    tasks, tenants: max_error of each; a tenant's wins
    """

    tasks: Mapping[str, float] = field(default_factory=dict)
    tenants: Mapping[str, float] = field(default_factory=dict)
    max_temperature: float = 1.0
    volatile_ttl: float = 120.0  # seconds
    ttl: float = 3600.0  # seconds an entry is kept

    def bound(self, call: Call) -> float:
        """Return the share of wrong answers a call accepts; 0.0 when it is not to be served by meaning."""
        if call.task not in KINDS or call.cache.mode == "bypass":
            return 0.0
        if call.cache.max_error is not None:
            return call.cache.max_error
        told = self.tenants.get(call.tenant)
        return self.tasks.get(call.task, 0.0) if told is None else told

    def against(self, call: Call) -> str:
        """Return which parameter forbids another question's answer, or "" """
        if call.tools:
            return "tools"
        if (call.temperature or 0.0) > self.max_temperature:
            return "temperature"
        if call.task != "classify" and call.sample:  # several samples of one question are to differ
            return "sample"
        return "logprobs" if call.task != "classify" and call.logprobs else ""
