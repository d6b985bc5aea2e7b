"""What namespaces have learned, kept in the database: a restart goes on where the last process was."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from llmapi.core.clock import utc_now
from llmapi.db.engine import reading, writing
from llmapi.db.tables.semantic import learned

KEPT: Final = timedelta(days=30)  # after the last change
DIGITS: Final = 6  # significant ones of a number
LARGEST: Final = 16 * 1_048_576  # bytes of a state; more is damage


class Learned:
    """States of namespaces by name.

    policy: who learned; a state of another policy is none
    """

    def __init__(self, engine: Engine, policy: str, now: Callable[[], datetime] = utc_now) -> None:
        self._engine, self._policy, self._now = engine, policy[:32], now

    def load(self, space: str) -> tuple[int, dict[str, Any]] | None:
        """Return how many labels a namespace has learned from, and what; raises LlmApiError."""
        rows = select(learned.c.labels, learned.c.state).where(
            learned.c.space == space, learned.c.policy == self._policy
        )
        with reading(self._engine) as connection:
            row = connection.execute(rows).first()
        return None if row is None else (row.labels, _unpacked(row.state))

    def save(self, space: str, labels: int, state: dict[str, Any]) -> bool:
        """Keep a state, unless another worker has kept one that knows more; raises LlmApiError."""
        now = self._now()
        packed = _packed(state)
        known = {"policy": self._policy, "labels": labels, "state": packed, "updated": now}
        mine = (learned.c.labels <= labels) | (learned.c.policy != self._policy)
        with writing(self._engine) as connection:
            connection.execute(delete(learned).where(learned.c.updated < now - KEPT))
            if connection.execute(select(learned.c.space).where(learned.c.space == space)).first():
                connection.execute(update(learned).where(learned.c.space == space, mine).values(**known))
                return True
            try:
                with connection.begin_nested():
                    row = {"space": space, "tenant": space.partition(":")[0], **known}
                    connection.execute(insert(learned).values(row))
            except IntegrityError:  # another worker was first; the next save will tell who knows more
                return False
        return True


def _packed(state: dict[str, Any]) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor(level=3).compress(orjson.dumps(_rounded(state)))


def _unpacked(packed: bytes) -> dict[str, Any]:
    import zstandard

    try:
        state: dict[str, Any] = orjson.loads(zstandard.ZstdDecompressor().decompress(packed, max_output_size=LARGEST))
    except (zstandard.ZstdError, ValueError):
        return {}  # damaged
    return state


def _rounded(value: Any) -> Any:
    """Return JSON with numbers cut to what matters: a third of the bytes."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value
