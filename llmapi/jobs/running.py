"""What a run is given, and what becomes of a run that failed."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from llmapi.core.clock import Monotonic
from llmapi.core.errors import LlmApiError
from llmapi.core.lifetime import Lifetime
from llmapi.jobs.job import Claim, Json
from llmapi.jobs.registry import Registry

OFTEN = 0.25  # seconds between two writings of a job's progress


@dataclass(frozen=True, slots=True)
class JobContext:
    """What a run is given. It ends soon after its lifetime does: by deadline, by cancellation, or by shutdown."""

    id: str
    tenant: str
    kind: str
    arguments: Json
    request_id: str
    attempt: int
    lifetime: Lifetime
    progress: Callable[[Json], bool]  # keep {"done", "total", "unit"}; False: the job is no longer ours
    priority: int = 5  # 9 goes first


Run = Callable[[JobContext], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Backoff:
    """When a failed job is tried again: after `first` seconds, twice as many each time, `most` at most, and jitter."""

    first: float = 2.0
    most: float = 300.0
    draw: Callable[[], float] = field(default=random.random)

    def seconds(self, attempt: int, error: LlmApiError) -> float:
        """Return how long to wait after an attempt (1 is the first): half of it for sure, half by chance.

        Never less than the other side asked for, as long as that is within `most`.
        """
        full = min(self.most, self.first * 2.0 ** min(attempt - 1, 30))
        asked = min(self.most, error.retry_after or 0.0)
        return max(asked, full / 2 * (1 + self.draw()))


def may_help(error: LlmApiError, lifetime: Lifetime) -> bool:
    """Say whether another attempt may do better and cannot pay twice: not in doubt, and not out of time."""
    return error.retryable and not error.in_doubt and lifetime.remaining() > 0


class Progress:
    """Keeps how far a job is: the first word, the last, and some in between.

    The first `done` of an attempt is kept as `from`: what an earlier attempt did says nothing about this one's speed.
    """

    def __init__(self, registry: Registry, claim: Claim, clock: Monotonic) -> None:
        self._keep = partial(registry.progress, claim)
        self._clock = clock
        self._began: Any = None
        self._next = 0.0

    def __call__(self, told: Json) -> bool:
        """Keep it, unless something was just kept; False: the job is no longer ours."""
        now = self._clock()
        first = self._began is None
        if first:
            self._began = told.get("done", 0)
        elif now < self._next and told.get("done") != told.get("total"):
            return True
        self._next = now + OFTEN
        return self._keep({**told, "from": self._began})
