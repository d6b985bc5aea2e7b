"""Rate-limit counts that many machines share, exact, in Redis or Valkey: one script, one round trip a request.

Time is the server's, so the machines' clocks do not matter. A server that is away or frozen is CountersAway within
`timeout`, for whoever asks it and for all who wait; the URL can say otherwise (`?socket_timeout=1`). To wait for one's
turn in a busy process is no sign of that: who takes it for one lets more pass than the limit.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import ConnectionError as Gone
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from llmapi.core.errors import BadSetting
from llmapi.db.combining import Combining
from llmapi.db.forks import close_before_fork
from llmapi.db.redis_script import TAKE
from llmapi.db.sliding import EXACT, SLOTS, Charge, CountersAway, Room, Sliding, Taken

PREFIX = "counters+"  # before the URL, for the library has storages of its own for these
KEYS = "llmapi:limits:"
PATIENCE = 1.0  # seconds to wait for one's turn; the one whose turn it is has his `timeout`
QUIET = 0.1  # seconds after a failure in which those who waited are told so, and do not try it one after the other
SHA = hashlib.sha1(TAKE.encode(), usedforsecurity=False).hexdigest()  # as Redis names a script
MICRO = 1_000_000
Asked = tuple[list[str], list[int]]  # keys and arguments of the script


class RedisCounters(Sliding):
    """A storage of the library `limits`; importing this module registers it for `counters+redis:` URIs.

    Threads of a process share one connection (combining.py): what they ask at once goes out together.
    """

    STORAGE_SCHEME = [f"{PREFIX}{kind}" for kind in ("redis", "rediss", "unix")]

    def __init__(
        self,
        uri: str,
        wrap_exceptions: bool = False,
        *,
        timeout: float = 0.2,  # seconds
        clock: Callable[[], float] | None = None,  # seconds since 1970; None: the server's
        **_: Any,
    ) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self._url = uri.removeprefix(PREFIX)
        try:
            parse_url(self._url)  # type: ignore[no-untyped-call]
        except ValueError as error:
            raise BadSetting(f"the URL of Redis for limits cannot be read: {error}") from None
        self._timeout = timeout
        self._clock = clock
        self._taking = Combining(self._take_all)
        self._turn = threading.Lock()
        self._client: Any = None
        self._quiet_until = 0.0
        close_before_fork(self, RedisCounters.close)

    def take(self, charges: Sequence[Charge], amount: int = 1) -> Taken:
        try:
            answer = self._taking.do(self._asked(charges, amount), PATIENCE)
        except TimeoutError as error:
            raise CountersAway("the connection to Redis is busy") from error
        rooms = [
            Room(max(0, charge.limit - answer[at]), answer[at + 1] / MICRO)
            for charge, at in zip(charges, range(1, len(answer), 2), strict=True)
        ]
        return Taken(bool(answer[0]), rooms)

    def now(self) -> float:
        if self._clock:
            return self._clock()
        seconds, micros = self._command("TIME")
        return float(seconds) + float(micros) / MICRO

    def check(self) -> bool:
        try:
            self._command("PING")
        except CountersAway:
            return False
        return True

    def clear(self, key: str) -> None:
        self._command("DEL", KEYS + key)

    def reset(self) -> int:
        found = self._using(lambda client: list(client.scan_iter(f"{KEYS}*", 1000)))
        return int(self._command("DEL", *found)) if found else 0

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        with self._turn:
            self._forget()

    def _asked(self, charges: Sequence[Charge], amount: int) -> Asked:
        arguments = [amount, round(self._clock() * MICRO) if self._clock else 0]
        for _, limit, span in charges:
            micros = round(span * MICRO)
            arguments += (limit, micros, micros // SLOTS if limit > EXACT else 0)
        return [KEYS + charge.key for charge in charges], arguments

    def _take_all(self, asked: Sequence[Asked]) -> list[Any]:
        """Send what several threads ask for together."""

        def send(client: Any) -> list[Any]:
            pipe = client.pipeline(transaction=False)
            for keys, arguments in asked:
                pipe.evalsha(SHA, len(keys), *keys, *arguments)
            return list(pipe.execute())

        return self._using(send)  # type: ignore[no-any-return]

    def _command(self, *words: Any) -> Any:
        return self._using(lambda client: client.execute_command(*words))

    def _using(self, work: Callable[[Any], Any]) -> Any:
        """Do something over the one connection; raises CountersAway."""
        with self._turn:
            if time.monotonic() < self._quiet_until:
                raise CountersAway("Redis was away just now")
            try:
                return self._try(work)
            except RedisError as error:
                self._forget()  # a late answer must not be taken for the next one's
                self._quiet_until = time.monotonic() + QUIET
                raise CountersAway(f"{type(error).__name__} at Redis") from error

    def _try(self, work: Callable[[Any], Any]) -> Any:
        idle = self._client is not None
        try:
            return work(self._client or self._open())
        except NoScriptError:  # the server was told to forget it
            self._client.script_load(TAKE)
        except Gone:  # the server may have closed a connection that was long idle
            if not idle:
                raise
            self._forget()
        return work(self._client or self._open())

    def _open(self) -> Any:
        self._client = redis.Redis.from_url(
            self._url,
            max_connections=1,
            socket_connect_timeout=self._timeout,
            socket_timeout=self._timeout,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        self._client.script_load(TAKE)
        return self._client

    def _forget(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()
