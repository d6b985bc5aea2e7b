"""The shared index on Redis 8: a vector set per namespace, and for each entry a key that ends by itself.

The set keeps vectors of 32-bit floats: with the usual 8 the order of near entries is not theirs.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from llmapi.cache.index import Found, Vector
from llmapi.core.errors import BadSetting, Overloaded

KEYS: Final = "llmapi:meaning:"
TIMEOUT: Final = 0.2  # seconds
SPARE: Final = 10  # asked for beyond what is wanted: some may be over


class RedisIndex:
    """A server without vector sets (before Redis 8, or Valkey) is Overloaded: each worker then has its own entries.

    entries: most of one namespace; beyond, some leave by chance
    """

    def __init__(self, url: str, *, entries: int, timeout: float = TIMEOUT) -> None:
        self._entries = entries
        try:
            self._client: Any = redis.Redis.from_url(
                url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=Retry(NoBackoff(), 0)
            )
        except ValueError as error:
            raise BadSetting(f"semantic.url cannot be read: {error}") from None

    def add(self, space: str, entry: str, vector: Vector, payload: bytes, ttl: float) -> None:
        """Put an entry for `ttl` seconds."""
        span = max(1, math.ceil(ttl * 1000))
        with our_errors(), self._client.pipeline(transaction=False) as pipe:
            pipe.set(_key(space, entry), payload, px=span)
            pipe.execute_command("VADD", _set(space), "FP32", np.asarray(vector, "<f4").tobytes(), entry, "NOQUANT")
            pipe.execute_command("PEXPIRE", _set(space), span, "NX")
            pipe.execute_command("PEXPIRE", _set(space), span, "GT")
            pipe.execute_command("VCARD", _set(space))
            count = int(pipe.execute()[-1])
            if count > self._entries:
                self._thin(space, count - self._entries)

    def remove(self, space: str, entry: str) -> bool:
        """Forget an entry; returns whether it was there."""
        with our_errors(), self._client.pipeline(transaction=False) as pipe:
            pipe.execute_command("VREM", _set(space), entry)
            pipe.delete(_key(space, entry))
            return any(pipe.execute())

    def nearest(self, space: str, vector: Vector, count: int) -> list[Found]:
        """Return up to `count` entries that are not over, nearest first."""
        wanted = np.asarray(vector, "<f4").tobytes()
        with our_errors():
            found = self._client.execute_command(
                "VSIM", _set(space), "FP32", wanted, "WITHSCORES", "COUNT", count + SPARE
            )
            pairs = _pairs(found)
            if not pairs:
                return []
            payloads = self._client.mget([_key(space, entry) for entry, _ in pairs])
            if over := [entry for (entry, _), payload in zip(pairs, payloads, strict=True) if payload is None]:
                self._forget(space, over)
        whole = zip(pairs, payloads, strict=True)
        alive = [Found(entry, 2 * score - 1, payload) for (entry, score), payload in whole if payload is not None]
        return alive[:count]

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def _thin(self, space: str, many: int) -> None:
        """Let some of a full namespace go: those that are over by now, else any."""
        picked = self._client.execute_command("VRANDMEMBER", _set(space), min(1000, 2 * many + SPARE)) or []
        names = [_text(each) for each in picked]
        alive = self._client.mget([_key(space, entry) for entry in names]) if names else []
        whole = sorted(zip(names, alive, strict=True), key=lambda each: each[1] is not None)
        self._forget(space, [entry for entry, _ in whole[:many]])

    def _forget(self, space: str, entries: Sequence[str]) -> None:
        with self._client.pipeline(transaction=False) as pipe:
            for entry in entries:
                pipe.execute_command("VREM", _set(space), entry)
                pipe.delete(_key(space, entry))
            pipe.execute()


def _set(space: str) -> str:
    return f"{KEYS}{{{space}}}"


def _key(space: str, entry: str) -> str:
    return f"{KEYS}{{{space}}}:{entry}"


def _pairs(found: Any) -> list[tuple[str, float]]:
    """Return names with scores, whichever way the protocol's version has them."""
    if isinstance(found, dict):
        return [(_text(name), float(score)) for name, score in found.items()]
    flat = list(found or [])
    return [(_text(name), float(score)) for name, score in zip(flat[::2], flat[1::2], strict=True)]


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


@contextmanager
def our_errors() -> Iterator[None]:
    """Turn what redis-py raises into Overloaded."""
    try:
        yield
    except RedisError as error:
        raise Overloaded(f"{type(error).__name__} at the shared index.") from error
