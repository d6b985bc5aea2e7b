"""A request with a key is worked on once, whatever happens: a row says how far it is, before each step is taken.

claimed: somebody works on it, no provider was asked yet; sent: one may have been; done: answered, the answer is kept;
unknown: it was sent and nobody knows what became of it. A claim is a lease with heartbeats: when its worker dies, a
claimed key is free again and a sent one is unknown. No row: the key is free.
"""

import hashlib
import hmac
import logging
import secrets
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from sqlalchemy import Engine, RowMapping

from llmapi.core.clock import Wall, utc_now
from llmapi.core.errors import IdempotencyInProgress, IdempotencyKeyReused, IdempotencyOutcomeUnknown, LlmApiError
from llmapi.core.ids import new_id
from llmapi.core.periodic import Periodic
from llmapi.db.deleting import in_steps
from llmapi.db.engine import reading, writing
from llmapi.gateway import idempotency_statements as statements
from llmapi.gateway.idempotency_held import Held, Name
from llmapi.gateway.idempotency_kept import Kept, columns_of, kept_in

DAY = 86_400.0
LARGEST = 8 * 1_048_576
BEATS = 3  # in the time of one lease
PURGE_EVERY = 60.0  # seconds
LATER = 1.0  # seconds after which to ask for a request under way again

log = logging.getLogger(__name__)


class Keys:
    """The idempotency keys of all workers.

    lease: seconds after which a dead worker's keys are looked at anew
    keep_for: seconds an ended request is remembered
    largest: bytes of the largest answer that is kept
    retry_unknown: tenants who rather pay twice than learn that an outcome is not known
    """

    def __init__(
        self,
        engine: Engine,
        *,
        lease: float = 30.0,
        keep_for: float = DAY,
        largest: int = LARGEST,
        retry_unknown: Collection[str] = (),
        now: Wall = utc_now,
    ) -> None:
        self.largest = largest
        self._engine, self._now = engine, now
        self._lease, self._keep_for = timedelta(seconds=lease), timedelta(seconds=keep_for)
        self._retry_unknown = frozenset(retry_unknown)
        said = "the leases of idempotency keys were not extended"
        self._heart = Periodic("idempotency", self.beat, lease / BEATS, trouble=said)
        said = "old idempotency keys were not deleted"
        self._purging = Periodic("idempotency-purge", self.purge, PURGE_EVERY, trouble=said)
        self._lock = threading.Lock()
        self._held: dict[str, Held] = {}
        self._claiming: set[Name] = set()
        self._secret = b""

    def start(self) -> None:
        """Begin to extend leases and to delete what is old."""
        self._heart.start()
        self._purging.start()

    def stop(self) -> None:
        """End both."""
        self._heart.stop()
        self._purging.stop()

    def fingerprint(self, *parts: bytes) -> str:
        """Return what tells two requests apart and tells nobody what they say; raises StorageFull, Overloaded."""
        digest = hmac.new(self._secret or self._fetch_secret(), digestmod=hashlib.sha256)
        for part in parts:
            digest.update(b"%d:%b" % (len(part), part))
        return digest.hexdigest()

    def claim(self, name: Name, fingerprint: str) -> Held | Kept:
        """Return the right to work on a request, or its answer if it had one.

        raises: IdempotencyInProgress, IdempotencyOutcomeUnknown, IdempotencyKeyReused, StorageFull, Overloaded
        """
        with reading(self._engine) as connection:  # beside any writer: repeats may come by the hundred
            found = connection.execute(statements.seen(name)).mappings().one_or_none()
        if found is not None and self._settled(found):
            return told(found, fingerprint)
        with self._alone(name):
            return self._claim(Held(self, name, new_id("key")), fingerprint)

    def under_way(self, name: Name) -> bool:
        """Say whether somebody works on a request right now; only reads."""
        with reading(self._engine) as connection:
            row = connection.execute(statements.state(name)).one_or_none()
        return row is not None and row.state in statements.HELD and row.lease_until > self._now()

    def beat(self) -> None:
        """Extend the leases of all keys this process holds."""
        with self._lock:
            names = [(*held.name, held.owner) for held in self._held.values()]
        if names:
            with writing(self._engine) as connection:
                statements.beat(connection, names, self._now() + self._lease)

    def purge(self) -> int:
        """Delete some of the rows whose time is over; returns how many."""
        old = statements.purge(self._now())

        def some() -> int:
            with writing(self._engine) as connection:
                return connection.execute(old).rowcount

        return in_steps(some, statements.PURGED_AT_ONCE)

    def note_sent(self, held: Held) -> None:
        """Write down that a provider is about to be asked; raises IdempotencyInProgress if the claim was lost."""
        with writing(self._engine) as connection:
            change = statements.send(held.name, held.owner, self._now() + self._lease)
            mine = connection.execute(change).rowcount
        if not mine:
            raise IdempotencyInProgress("This request took too long to begin and was taken over.", retry_after=LATER)

    def note_done(self, held: Held, kept: Kept) -> None:
        """Write down the answer."""
        with self._last_word(held), writing(self._engine) as connection:
            values = {"state": "done", **columns_of(kept)}
            connection.execute(statements.end(held.name, held.owner, values))

    def note_unknown(self, held: Held) -> None:
        """Write down that nobody knows."""
        with self._last_word(held), writing(self._engine) as connection:
            connection.execute(statements.end(held.name, held.owner, {"state": "unknown"}))

    def free(self, held: Held) -> None:
        """Forget the request."""
        with self._last_word(held), writing(self._engine) as connection:
            connection.execute(statements.free(held.name, held.owner))

    def _settled(self, row: RowMapping) -> bool:
        """Say whether a row surely is not free."""
        if row["state"] in statements.HELD:
            return bool(row["lease_until"] > self._now())
        doubtful = row["state"] == "unknown" and row["tenant"] in self._retry_unknown
        return not doubtful and bool(row["expires"] > self._now())

    def _claim(self, held: Held, fingerprint: str) -> Held | Kept:
        """Put the row in, unless another worker was quicker."""
        name, now = held.name, self._now()
        with writing(self._engine) as connection:
            fresh = self._fresh(held, fingerprint, now)
            if mine := statements.claim(connection, fresh, now, doubts_too=name.tenant in self._retry_unknown):
                found = None
            else:
                connection.execute(statements.doubt(name, now))
                found = connection.execute(statements.seen(name)).mappings().one_or_none()
        if not mine:
            return told(found, fingerprint)
        with self._lock:
            self._held[held.owner] = held
        return held

    @contextmanager
    def _alone(self, name: Name) -> Iterator[None]:
        """Let one thread of this process try to claim a key: the others need not queue at the database to lose."""
        with self._lock:
            if name in self._claiming:
                raise in_progress()
            self._claiming.add(name)
        try:
            yield
        finally:
            with self._lock:
                self._claiming.discard(name)

    @contextmanager
    def _last_word(self, held: Held) -> Iterator[None]:
        """Let go of the key. A storage that fails now does not take the caller's answer away: the lease runs out."""
        try:
            yield
        except LlmApiError as error:
            log.error("the end of a request with an idempotency key was not kept: %s", error.message)
        finally:
            with self._lock:
                self._held.pop(held.owner, None)

    def _fresh(self, held: Held, fingerprint: str, now: datetime) -> dict[str, object]:
        return {
            **held.name._asdict(),
            "state": "claimed",
            "fingerprint": fingerprint,
            "owner": held.owner,
            "lease_until": now + self._lease,
            "created": now,
            "expires": now + self._keep_for,
        }

    def _fetch_secret(self) -> bytes:
        with writing(self._engine) as connection:
            self._secret = statements.secret(connection, secrets.token_bytes(32))
        return self._secret


def in_progress() -> IdempotencyInProgress:
    return IdempotencyInProgress("A request with this key is being worked on.", retry_after=LATER)


def told(row: RowMapping | None, fingerprint: str) -> Kept:
    """Return the answer in a row that is not free; raises what else it says."""
    if row is not None and not hmac.compare_digest(row["fingerprint"], fingerprint):
        raise IdempotencyKeyReused("This key was used for another request.")
    if row is None or row["state"] in statements.HELD:  # no row: it was freed this very moment
        raise in_progress()
    if row["state"] == "unknown":
        raise IdempotencyOutcomeUnknown("It was sent to a provider, and whether it was worked on cannot be told.")
    kept = kept_in(dict(row))
    if kept.body is None:
        raise IdempotencyOutcomeUnknown("It was answered, but its answer was too large to be kept.")
    return kept
