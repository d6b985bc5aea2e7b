"""Who of all processes asks a question now: a lease on the server, which lapses with its holder.

What a holder writes at the end counts only while the lease is its own: another may have taken over meanwhile.
"""

import hashlib
import threading
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

from llmapi.cache.memory import MemoryCache
from llmapi.cache.record import Kept, Source, unpack
from llmapi.cache.redis import Away, RedisServer
from llmapi.cache.shelf import ANSWERS, milliseconds, opened, packed_small
from llmapi.core.calls import Completion
from llmapi.core.ids import new_id
from llmapi.core.kept import About
from llmapi.core.periodic import Periodic

ASKING: Final = "llmapi:asking:"
HANDED: Final = "llmapi:handed:"
REFRESHING: Final = "llmapi:refreshing:"
LEASE: Final = 1.5  # seconds; renewed three times as often
HANDED_FOR: Final = 5000  # milliseconds an answer that is not kept lies there for those who wait for it
FAILED: Final = b"failed"
Landed = Literal["", "kept", "lost"]

RENEW: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
"""
# KEYS: lease, where to write. ARGV: token, what, milliseconds. Answer: 1 if written. A lease that lapsed and that
# nobody took does no harm: then it is written where nothing is.
LAND: Final = """
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then
  redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
  redis.call('DEL', KEYS[1])
  return 1
end
if not holder and redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3], 'NX') then return 1 end
return 0
"""


class Place(NamedTuple):
    """Where a question stands: an answer, or who is asking (`holder`), and whether that is oneself (`token`)."""

    kept: Kept | None = None
    holder: str = ""
    token: str = ""
    failed: bool = False  # the one waited for has failed


class Leases:
    """The leases this process holds; while the server is away there are none, and nobody waits."""

    def __init__(self, memory: MemoryCache, server: RedisServer, lease: float = LEASE) -> None:
        self._memory, self._server, self._lease = memory, server, lease
        self._lock = threading.Lock()
        self._held: dict[str, str] = {}  # token -> key
        said = "the leases of what is being asked were not renewed"
        self._heart = Periodic("cache-leases", self._beat, lease / 3, trouble=said)

    def start(self) -> None:
        """Begin to renew what is held."""
        self._heart.start()

    def close(self) -> None:
        """Stop renewing: what is held lapses."""
        self._heart.stop()

    def enter(self, key: str) -> Place | None:
        """Take the lease if it is free; one round trip tells what became of it and the answer kept by now."""
        token = new_id("lease")

        def ask(client: Any) -> list[Any]:
            pipe = client.pipeline(transaction=False)
            pipe.set(ASKING + key, token, nx=True, px=int(self._lease * 1000))
            pipe.get(ASKING + key)
            pipe.get(ANSWERS + key)  # after the lease: who had it before has kept his answer by now
            return list(pipe.execute())

        if (found := self._asked(ask, twice=True)) is None:
            return None
        _, holder, packed = found
        won = holder == token.encode()  # not what SET said: asked twice, it says the second time that we are there
        if won:
            with self._lock:
                self._held[token] = key
        return Place(opened(self._memory, key, packed), (holder or b"").decode(), token if won else "")

    def look(self, key: str, holder: str) -> Place | None:
        """Tell what became of the question while `holder` asks it."""
        names = [ANSWERS + key, ASKING + key, HANDED + holder]
        if (found := self._asked(lambda client: client.mget(names), twice=True)) is None:
            return None
        packed, now, handed = found
        if (kept := opened(self._memory, key, packed)) is not None:
            return Place(kept)
        if handed == FAILED:
            return Place(failed=True)
        if handed and (record := unpack(handed)) is not None:
            return Place(self._memory.judged(key, record))
        return Place(holder=(now or b"").decode())

    def land(
        self, key: str, token: str, answer: Completion, source: Source, about: About, *, keep: bool
    ) -> Landed:
        """Write the holder's answer, for all or for those who wait, and give the lease back; tell what became of it."""
        record = self._memory.recorded(answer, source, about)
        packed, span = packed_small(record), milliseconds(record)
        if packed is None or span < 1:
            self.fail(key, token)
            return ""
        where, span = (ANSWERS + key, span) if keep else (HANDED + token, HANDED_FOR)
        written = self._end(key, token, where, packed, span)
        if written is None:
            return ""
        if not written:
            return "lost"
        if keep:
            self._memory.keep(key, record)
        return "kept" if keep else ""

    def fail(self, key: str, token: str) -> None:
        """Give the lease back without an answer: who waits goes on at once."""
        self._end(key, token, HANDED + token, FAILED, HANDED_FOR)

    def give_back(self, key: str, token: str) -> None:
        """Give back a lease that is not needed: the answer was there."""
        self._end(key, token, HANDED + token, FAILED, 1)

    def claimed(self, key: str, seconds: float) -> bool:
        """Say whether no other process has claimed this within so many seconds; then it is claimed."""
        name, span = REFRESHING + key, int(seconds * 1000)
        found = self._asked(lambda client: [client.set(name, b"1", nx=True, px=span)])
        return found is None or bool(found[0])

    def _end(self, key: str, token: str, where: str, what: bytes, span: int) -> bool | None:
        with self._lock:
            self._held.pop(token, None)
        names = [ASKING + key, where]
        found = self._asked(lambda client: [scripted(client, LAND, names, [token, what, span])])
        return None if found is None else bool(found[0])

    def _asked(self, work: Callable[[Any], list[Any]], *, twice: bool = False) -> list[Any] | None:
        """Return what the server says, or None; `twice` outlasts a hiccup, for an asking more costs more."""
        try:
            return self._server.ask(work)
        except Away:
            return self._asked(work) if twice and self._server.up_soon() else None

    def _beat(self) -> None:
        with self._lock:
            held = list(self._held.items())
        if held:
            self._renew(held)

    def _renew(self, held: list[tuple[str, str]]) -> None:
        span = int(self._lease * 1000)

        def ask(client: Any) -> list[Any]:
            return [scripted(client, RENEW, [ASKING + key], [token, span]) for token, key in held]

        self._asked(ask)  # if the server is away they lapse: another may ask too, and only one will be heard


def scripted(client: Any, script: str, keys: list[str], arguments: list[Any]) -> Any:
    """Run a script by its name; a server that does not know it yet is told it."""
    from redis.exceptions import NoScriptError

    name = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
    try:
        return client.evalsha(name, len(keys), *keys, *arguments)
    except NoScriptError:
        return client.eval(script, len(keys), *keys, *arguments)
