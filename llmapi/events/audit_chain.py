"""How audit entries hang together: each has a keyed hash over itself and the hash before it.

Who has no key can neither change an entry nor leave one out nor put one in: what follows would not fit. That the last
entries are missing shows against a head, the number and hash of the newest entry, which is kept elsewhere too.

source: Schneier and Kelsey, Secure Audit Logs to Support Computer Forensics (1999)
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
from sqlalchemy import RowMapping


@dataclass(frozen=True, slots=True)
class Entry:
    """Who did what to what. `actor` and `target` are names and ids, never secrets."""

    number: int
    at: datetime
    tenant: str
    actor: str
    action: str  # such as keys.create
    target: str
    request_id: str
    details: str  # JSON
    hash: str = ""

    @classmethod
    def of(cls, row: RowMapping) -> "Entry":
        """Return the entry of a row."""
        return cls(**{name: row[name] for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry's number and hash; 0 and "" before the first."""

    number: int
    hash: str


START = Head(0, "")


def hash_of(key: bytes, entry: Entry, before: str) -> str:
    """Return the hash an entry has after another's."""
    told = [
        before,
        entry.number,
        entry.at.astimezone(UTC).isoformat(timespec="microseconds"),  # as exactly as it is kept
        entry.tenant,
        entry.actor,
        entry.action,
        entry.target,
        entry.request_id,
        entry.details,
    ]
    return hmac.new(key, orjson.dumps(told), hashlib.sha256).hexdigest()


def faults(key: bytes, entries: Iterable[Entry], heads: Iterable[Head], most: int = 20) -> list[str]:
    """Return what is wrong with a whole chain, oldest entry first; nothing when all is well.

    heads: what the chain must contain, the newest last; most: faults after which looking further tells nothing new
    """
    found: list[str] = []
    last, wanted = START, {head.number: head.hash for head in heads if head.number}
    for entry in entries:
        if len(found) >= most:
            return found
        _look(found.append, key, last, entry)
        if wanted.pop(entry.number, entry.hash) != entry.hash:
            found.append(f"entry {entry.number} is not the one a head names")
        last = Head(entry.number, entry.hash)
    found += [f"a head names entry {number}, which is not there" for number in sorted(wanted)]
    return found


def _look(tell: Callable[[str], object], key: bytes, last: Head, entry: Entry) -> None:
    if entry.number != last.number + 1:
        tell(f"after entry {last.number} comes {entry.number}")
    elif not hmac.compare_digest(hash_of(key, entry, last.hash), entry.hash):
        tell(f"entry {entry.number} is not as it was written")
