"""What is known of a kept answer, and how one says that kept answers are good no longer."""

from dataclasses import dataclass
from typing import Literal

Meant = Literal["all", "key", "tag", "model", "task"]


@dataclass(frozen=True, slots=True)
class About:
    """What a cache is told of an answer beside the answer; none of it is part of the question."""

    tenant: str = ""
    task: str = ""
    tags: tuple[str, ...] = ()
    cost: int | None = None  # nano-dollars the asking cost; None: nobody knows
    took: float = 0.0  # seconds the asking took
    stale: float = 0.0  # seconds it may still be used after its time, by who accepts that


KNOWN_NOTHING = About()


@dataclass(frozen=True, slots=True)
class Mark:
    """Everything a tenant had asked before an instant and that fits is good no longer.

    field, value: `all`; or the key, one of the tags, the model (`model` or `provider/model`), or the task
    before: seconds since 1970, as a cache's clock
    """

    tenant: str
    field: Meant
    value: str
    before: float
