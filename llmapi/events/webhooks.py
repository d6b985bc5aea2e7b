"""Sends webhooks, after Standard Webhooks: signed, tried again on a schedule, under one id.

One idle thread at a time looks for what is due and the others wait behind it. A slow receiver holds up only itself:
two attempts at a time for an endpoint, and never all threads for one tenant. Start it after the fork.
"""

import logging
import random
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from llmapi.core.clock import Monotonic, Wall, monotonic, utc_now
from llmapi.core.errors import LlmApiError
from llmapi.core.ids import new_id
from llmapi.core.lifetime import Lifetime
from llmapi.events.egress import Answer, Egress, EgressFailed
from llmapi.events.webhook_endpoints import Endpoints
from llmapi.events.webhook_outbox import Attempt, Claim, WebhookOutbox
from llmapi.events.webhook_secrets import Seal, SecretUnreadable, signatures

log = logging.getLogger(__name__)
T = TypeVar("T")

SCHEDULE = (0.0, 5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)  # s before each attempt
LONGEST_WAIT = 7 * 86_400.0  # seconds a receiver may ask for
TIDY = 60.0  # seconds between deletions of old messages
UNWIND = 2.0  # seconds that attempts cut by `stop` get to say so
REPORTS = 10  # tries to write an outcome while the storage is busy; then the lease ends and it is sent again
GONE = 410


def some_later(wait: float) -> float:
    """Return a wait up to a tenth longer, so that what failed together does not come back together."""
    return wait * (1.0 + random.random() / 10)


class WebhookSender:
    """Claims what is due and sends it, a few at a time.

    workers: attempts under way at once; each, each_tenant: for one endpoint and one tenant, over all processes
    total: seconds an attempt may take; lease: seconds after which another process takes up what this one was sending,
    should it die: well above `total`, so that no message is sent by two
    """

    def __init__(
        self,
        outbox: WebhookOutbox,
        endpoints: Endpoints,
        egress: Egress,
        *,
        schedule: Sequence[float] = SCHEDULE,
        jitter: Callable[[float], float] = some_later,
        workers: int = 8,
        each: int = 2,
        each_tenant: int = 6,
        total: float = 15.0,
        lease: float = 60.0,
        poll: float = 0.5,
        keep_for: float = 7 * 86_400.0,  # seconds an ended message can be read
        now: Wall = utc_now,
        clock: Monotonic = monotonic,
    ) -> None:
        self._outbox = outbox
        self._endpoints = endpoints
        self._egress = egress
        self._schedule = tuple(schedule)
        self._jitter = jitter
        self._size = workers
        self._each = (each, each_tenant)
        self._total = total
        self._lease = lease
        self._poll = poll
        self._keep_for = keep_for
        self._now = now
        self._clock = clock
        self._owner = ""
        self._workers: list[threading.Thread] = []
        self._tidied = 0.0
        self._search = threading.Lock()  # held by the one thread that looks for work
        self._news = threading.Event()  # there may be work, or it is time to stop
        self._stopping = threading.Event()  # no new claims
        self._leaving = threading.Event()  # what is under way is cut
        self._lock = threading.Lock()
        self._sending: dict[tuple[str, int], Lifetime] = {}  # by message and claim

    def start(self) -> None:
        """Begin to send; once, and after the fork."""
        self._owner = new_id("sender")
        self._tidied = self._clock()
        self._outbox.on_work(self._news.set)
        self._workers = [
            threading.Thread(target=self._work, name=f"webhooks-{number}", daemon=True) for number in range(self._size)
        ]
        for thread in self._workers:
            thread.start()

    def health(self) -> dict[str, Any]:
        """Return {"status", "workers", "sending"}: ok, degraded (a thread is lost), down (all are), or unknown."""
        alive = sum(thread.is_alive() for thread in self._workers)
        status = "ok" if alive == self._size else "degraded" if alive else "down"
        if not self._owner or self._stopping.is_set():
            status = "unknown"
        return {"status": status, "workers": alive, "sending": len(self._sending)}

    def stop(self, grace: float) -> None:
        """Claim no more, let attempts finish for `grace` seconds, cut the rest: they are made again elsewhere.

        A second call, also during the first, shortens its grace.
        """
        self._stopping.set()
        self._news.set()
        self._join(grace, self._leaving)
        with self._lock:
            self._leaving.set()
            under_way = list(self._sending.values())
        for lifetime in under_way:
            lifetime.end()
        self._join(UNWIND, threading.Event())

    def _join(self, seconds: float, unless: threading.Event) -> None:
        until = self._clock() + seconds
        for thread in self._workers:
            while thread.is_alive() and (left := until - self._clock()) > 0.0 and not unless.is_set():
                thread.join(min(left, 0.05))

    def _work(self) -> None:
        while (claim := self._next()) is not None:
            lifetime = Lifetime(self._total, self._clock)
            with self._lock:
                self._sending[claim.id, claim.number] = lifetime
                late = self._leaving.is_set()
            if late:  # claimed in the instant of the stop
                lifetime.end()
            try:
                self._report(self._outcome(claim, lifetime), claim)
            finally:
                with self._lock:
                    del self._sending[claim.id, claim.number]
                self._news.set()  # there is room for another one of this endpoint

    def _next(self) -> Claim | None:
        each, each_tenant = self._each
        look = partial(self._outbox.claim, self._owner, self._lease, each=each, each_tenant=each_tenant)
        while not self._stopping.is_set():
            with self._search:
                self._news.clear()  # before the look: what comes during it is seen by the next
                claim = None if self._stopping.is_set() else _safely(look)
                if claim is not None:
                    return claim
                self._tidy()
                if not self._stopping.is_set():
                    self._news.wait(self._poll)
        return None

    def _tidy(self) -> None:
        if self._clock() - self._tidied >= TIDY:
            self._tidied = self._clock()
            _safely(partial(self._outbox.expire_old, self._keep_for))

    def _outcome(self, claim: Claim, lifetime: Lifetime) -> Callable[[], bool]:
        """Make one attempt and return what there is to report."""
        begun, at = self._clock(), self._now()
        answer, word = None, None
        try:
            answer = self._send(claim, at, lifetime)
        except EgressFailed as error:
            word = error.word
        except (SecretUnreadable, ValueError):
            log.error("%s cannot be signed for: was the key of its secret replaced?", claim.endpoint.id)
            word = "not_signed"
        if word == "ended":
            return partial(self._outbox.hand_back, claim)
        status = None if answer is None else answer.status
        attempt = Attempt(at, status, word, round((self._clock() - begun) * 1000))
        if status is not None and 200 <= status < 300:
            return partial(self._outbox.delivered, claim, attempt)
        again_in = None if status == GONE else self._again_in(claim, answer)
        return partial(self._outbox.failed, claim, attempt, again_in, gone=status == GONE)

    def _send(self, claim: Claim, at: datetime, lifetime: Lifetime) -> Answer:
        known = self._endpoints.secrets(claim.endpoint, at)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": claim.id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": signatures(known, claim.id, at, claim.payload),
        }
        return self._egress.post(claim.endpoint.url, headers, claim.payload.encode(), lifetime)

    def _again_in(self, claim: Claim, answer: Answer | None) -> float | None:
        """Return the seconds until the next attempt, never less than the receiver asked for; None: it was the last."""
        if claim.step + 1 >= len(self._schedule):
            return None
        asked = seconds_of(answer.retry_after, self._now()) if answer and answer.retry_after else 0.0
        return max(self._jitter(self._schedule[claim.step + 1]), min(asked, LONGEST_WAIT))

    def _report(self, report: Callable[[], bool], claim: Claim) -> None:
        for _ in range(REPORTS):
            held = _safely(report)
            if held is False:
                log.warning("webhook %s was taken by another sender or cancelled; this outcome is dropped", claim.id)
            if held is not None:
                return
            self._leaving.wait(self._poll)
        log.error("webhook %s has an outcome that could not be kept; it is sent again when its lease ends", claim.id)


@dataclass(frozen=True, slots=True)
class Webhooks:
    """All of webhooks, put together."""

    endpoints: Endpoints
    outbox: WebhookOutbox
    sender: WebhookSender


def open_webhooks(
    engine: Engine, *, allow: Iterable[str] = (), key: str = "", schedule: Sequence[float] = SCHEDULE
) -> Webhooks:
    """Return webhooks over a database; nothing is started. Raises BadSetting.

    allow: hosts of the operator's own, see Egress; key: of Fernet, with which secrets are sealed
    """
    egress = Egress(allow=allow)
    endpoints, outbox = Endpoints(engine, egress.allows, seal=Seal(key)), WebhookOutbox(engine)
    return Webhooks(endpoints, outbox, WebhookSender(outbox, endpoints, egress, schedule=schedule))


def seconds_of(retry_after: str, now: datetime) -> float:
    """Return what a Retry-After header asks for, as seconds or as a date; 0.0 when it cannot be read."""
    if retry_after.strip().isascii() and retry_after.strip().isdigit():
        return float(retry_after.strip()[:9])
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - now).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _safely(act: Callable[[], T]) -> T | None:
    """Act; a storage that is away is logged and asked again at the next round."""
    try:
        return act()
    except LlmApiError as error:
        log.warning("the webhook outbox is not available: %s", error)
    except SQLAlchemyError:  # a mistake of ours must not cost the thread
        log.exception("the webhook outbox failed")
    return None
