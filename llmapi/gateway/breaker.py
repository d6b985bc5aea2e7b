"""A model that fails every time is left alone for a while, and asked with one call whether it is well again.

source: circuit breaker, Nygard, Release It! (2007); rolling failure ratio and half-open probe as in Hystrix
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Literal

from llmapi.core.calls import Call, Completion, Target
from llmapi.core.clock import Monotonic, monotonic, utc_now
from llmapi.core.contracts import Bus
from llmapi.core.errors import CircuitOpen, LlmApiError, ProviderThrottled, ProviderUnavailable
from llmapi.core.events import BreakerChanged
from llmapi.core.reply import Handler, Reply
from llmapi.gateway.blame import Verdict, about_key, verdict
from llmapi.gateway.rolling import Rolling

State = Literal["closed", "open", "half_open"]
Key = tuple[str, str]  # provider, model

MOST = 1000  # breakers kept: the least used one is forgotten first
SILENCE = 3.0  # seconds of nothing but failures that tell as much as a window's share of them
LONGEST_HINT = 60.0  # seconds a provider's own wish can keep a breaker open
GOOD, BAD = 0, 1


@dataclass(frozen=True, slots=True)
class _Rules:
    ratio: float
    least: int
    window: float
    rest: float


@dataclass(slots=True)
class _Pass:
    """One call let through, with what its outcome must be compared with."""

    breaker: "_Breaker"
    epoch: int
    start: float
    probe: int = 0  # its number if it is one
    slot: int = 0  # where its good outcome is counted


class _Breaker:
    """The breaker of one model. `Breakers` holds its lock around all of this."""

    __slots__ = ("key", "rules", "state", "next_probe", "for_key", "counts", "_epoch", "_probe", "_row", "_row_began")

    def __init__(self, key: Key, rules: _Rules) -> None:
        self.key = key
        self.rules = rules
        self.state: State = "closed"
        self.next_probe = 0.0  # on the monotonic clock; of no meaning while closed
        self.for_key = False  # opened because of the key that all calls share: who brings another one may pass
        self.counts = Rolling(rules.window)
        self._epoch = 0  # outcomes of calls from before it opened, or before it closed, say nothing any more
        self._probe = 0  # number of the newest one
        self._row = 0  # failures since the last good outcome
        self._row_began = 0.0

    def resting(self, now: float) -> bool:
        return self.state != "closed" and now < self.next_probe

    def enter(self, now: float, *, own_key: bool) -> _Pass:
        """Let a call through; raises CircuitOpen. A probe that hangs does not keep the next one back."""
        if self.state == "closed":
            return _Pass(self, self._epoch, now)
        if own_key and self.for_key:
            return _Pass(self, -1, now)
        if now < self.next_probe:
            wait = max(1.0, self.next_probe - now)
            raise CircuitOpen("The provider failed too often just now and is left alone.", retry_after=wait)
        self.state = "half_open"
        self.next_probe = now + self.rules.rest
        self._probe += 1
        return _Pass(self, self._epoch, now, self._probe)

    def settle(self, this: _Pass, said: Verdict, error: BaseException | None, now: float) -> None:
        """Take in how an asking began: with a first chunk, or with a failure."""
        if this.epoch != self._epoch:
            return
        if self.state == "closed":
            self._count(this, said, error, now)
        elif said == "good":
            self._close(this, now)
        elif this.probe == self._probe:  # an older one that fails late knows less than the newest will
            self._failed_probe(said, error, now)

    def broken(self, this: _Pass, said: Verdict, error: BaseException | None, now: float) -> None:
        """Turn a good outcome into a failure: the answer broke on its way."""
        if this.epoch == self._epoch and self.state == "closed" and said == "bad":
            self.counts.take_back(GOOD, this.slot, now)
            self._count(this, said, error, now)

    def row(self, now: float) -> dict[str, Any]:
        good, bad = self.counts.sums(now)
        wait = 0.0 if self.state == "closed" else round(max(0.0, self.next_probe - now), 3)
        names = {"provider": self.key[0], "model": self.key[1], "state": self.state}
        return {**names, "failures": bad, "calls": good + bad, "retry_in_s": wait}

    def _count(self, this: _Pass, said: Verdict, error: BaseException | None, now: float) -> None:
        if said == "good":
            self._row = 0
            this.slot = self.counts.add(GOOD, now)
        elif said == "bad":
            self._row_began = self._row_began if self._row else now
            self._row += 1
            self.counts.add(BAD, now)
            if self._enough(now):
                self._epoch += 1
                self._open(error, now)

    def _enough(self, now: float) -> bool:
        """Say whether it must open. By its share alone a full window would notice a sudden death far too late."""
        good, bad = self.counts.sums(now)
        share = good + bad >= self.rules.least and bad >= self.rules.ratio * (good + bad)
        return share or (self._row >= self.rules.least and now - self._row_began >= SILENCE)

    def _failed_probe(self, said: Verdict, error: BaseException | None, now: float) -> None:
        if said == "bad":
            self._open(error, now)
            return
        self.state = "open"
        if said == "unsent":
            self.next_probe = now  # nobody was asked: the next call may be the probe

    def _open(self, error: BaseException | None, now: float) -> None:
        self.state = "open"
        self.next_probe = now + max(self.rules.rest, _hint(error))
        self.for_key = isinstance(error, LlmApiError) and about_key(error)

    def _close(self, this: _Pass, now: float) -> None:
        self.state = "closed"
        self.counts = Rolling(self.rules.window)
        self._row = 0
        self._epoch += 1
        this.epoch = self._epoch
        this.slot = self.counts.add(GOOD, now)


class Breakers:
    """Refuse at once what would fail anyway: one breaker for each model at each provider.

    It opens when at least `least` outcomes lie in the window and `ratio` of them are failures, or when nothing but
    failures came for some seconds. After `rest` seconds one call is let through as a probe, and no more than one in
    that time, even when the probe hangs; its first chunk closes the breaker. What counts as a failure: blame.py.

    ratio: share of failures, 0 to 1; least: outcomes; window, rest: seconds
    """

    def __init__(
        self,
        bus: Bus,
        *,
        ratio: float = 0.8,
        least: int = 10,
        window: float = 30.0,
        rest: float = 5.0,
        clock: Monotonic = monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._bus = bus
        self._rules = _Rules(ratio, least, window, rest)
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._breakers: OrderedDict[Key, _Breaker] = OrderedDict()

    def __call__(self, call: Call, proceed: Handler) -> Reply:
        this = self._enter(call)
        try:
            reply = proceed(call)
        except BaseException as error:
            self._settle(this, call, error)
            raise
        self._settle(this, call, None)
        return reply.when_ended(partial(self._ended, this, call))

    def resting(self, target: Target) -> bool:
        """Say whether a call to this candidate would be refused right now."""
        with self._lock:
            breaker = self._breakers.get((target.provider, target.model))
            return breaker is not None and breaker.resting(self._clock())

    def states(self) -> list[dict[str, Any]]:
        """Return a JSON row per breaker: provider, model, state, failures and calls in the window, retry_in_s."""
        with self._lock:
            now = self._clock()
            return [breaker.row(now) for breaker in self._breakers.values()]

    def _enter(self, call: Call) -> _Pass:
        target = call.target or call.targets[0]
        with self._lock:
            breaker = self._of((target.provider, target.model))
            before = breaker.state
            this = breaker.enter(self._clock(), own_key=bool(call.provider_key))
            after = breaker.state
        self._tell(breaker.key, before, after)
        return this

    def _of(self, key: Key) -> _Breaker:
        breaker = self._breakers.get(key)
        if breaker is None:
            breaker = self._breakers[key] = _Breaker(key, self._rules)
            if len(self._breakers) > MOST:
                self._breakers.popitem(last=False)
        self._breakers.move_to_end(key)
        return breaker

    def _settle(self, this: _Pass, call: Call, error: BaseException | None) -> None:
        now = self._clock()
        said = verdict(error, call, now - this.start) if error else "good"
        with self._lock:
            before = this.breaker.state
            this.breaker.settle(this, said, error, now)
            after = this.breaker.state
        self._tell(this.breaker.key, before, after)

    def _ended(self, this: _Pass, call: Call, _: Completion, error: BaseException | None) -> None:
        if error is None:
            return
        now = self._clock()
        said = verdict(error, call, now - this.start)
        with self._lock:
            before = this.breaker.state
            this.breaker.broken(this, said, error, now)
            after = this.breaker.state
        self._tell(this.breaker.key, before, after)

    def _tell(self, key: Key, before: State, after: State) -> None:
        if before != after:  # told without the lock: who listens may be slow
            self._bus.tell(BreakerChanged(key[0], key[1], after, self._now()))


def _hint(error: BaseException | None) -> float:
    """Return the seconds the provider itself asked to be left alone."""
    asked = error.retry_after if isinstance(error, ProviderThrottled | ProviderUnavailable) else None
    return min(LONGEST_HINT, asked or 0.0)
