"""Answers as they lie on a server that many processes share, and what of them may come into this one."""

from typing import Final

from llmapi.cache.memory import MemoryCache
from llmapi.cache.record import VERSION, Kept, Record, pack, unpack

ANSWERS: Final = f"llmapi:answers:{VERSION}:"
LARGEST: Final = 4 * 1_048_576  # packed bytes; more would not pass within the time limits


def opened(memory: MemoryCache, key: str, packed: bytes | None, *, stale: bool = False) -> Kept | None:
    """Return the answer in the server's bytes if it may be served, and keep it here too."""
    record = unpack(packed) if packed else None
    if record is None:
        return None
    kept = memory.judged(key, record, stale=stale)
    if kept is not None:
        memory.keep(key, record, older=False)
    return kept


def packed_small(record: Record) -> bytes | None:
    """Return a record as the server keeps it; None for one it cannot keep."""
    try:
        packed = pack(record)
    except TypeError:  # half a character of UTF-16, which JSON cannot say
        return None
    return packed if len(packed) <= LARGEST else None


def milliseconds(record: Record) -> int:
    """Return how long the server keeps a record."""
    return int((record.ttl + record.stale) * 1000)
