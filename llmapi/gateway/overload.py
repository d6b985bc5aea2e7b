"""As many calls at a provider at once as it bears, found by asking; the others are told to come back, at once.

A queue before a slow provider only makes everyone late, so a call beyond the limit waits for a moment and is refused.
Who goes first of those who wait, and who is refused when too many do, is fair to tenants (overload_line.py).
The limit is found as TCP finds its window: additive increase, multiplicative decrease, with slow start after a loss.

source: Chiu and Jain, Analysis of the Increase and Decrease Algorithms for Congestion Avoidance (1989); RFC 5681;
the AIMD limit of Netflix's concurrency-limits
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmapi.core.calls import Call
from llmapi.core.clock import Monotonic, monotonic
from llmapi.core.errors import CallEnded, Overloaded
from llmapi.core.reply import Handler, Reply
from llmapi.gateway.blame import asks_to_slow_down, seems_busy
from llmapi.gateway.overload_line import Line, Waiter

CUT = 0.7
LONGEST_HINT = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class _Bounds:
    most: int
    least: int
    wait: float


@dataclass(frozen=True, slots=True)
class _Place:
    """A call under way, with the number of cuts there had been when it began."""

    cuts: int
    start: float


class _Gate:
    """The places at one provider."""

    def __init__(self, bounds: _Bounds, clock: Monotonic) -> None:
        self._bounds = bounds
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting = Line()
        self._in_flight = 0
        self._limit = float(bounds.most)
        self._known = float(bounds.most)  # up to here it worked before: regained quickly, one for each answer
        self._cuts = 0
        self._answered = False  # since the last cut
        self._usual = 1.0  # seconds a place is held, a moving average

    def enter(self, call: Call) -> _Place:
        """Take a place, after a short wait if need be; raises Overloaded, CallEnded."""
        with self._lock:
            if not self._waiting and self._free():
                return self._place()
            waiter = self._lined_up(call)
        forget = call.lifetime.on_end(waiter.woken.set)
        try:
            waiter.woken.wait(min(self._bounds.wait, call.lifetime.remaining()))
        finally:
            forget()
        return self._after_waiting(waiter, call)

    def answered(self) -> None:
        """Note a first chunk: the limit grows, if it is what holds calls back."""
        with self._lock:
            self._answered = True
            if 2 * self._in_flight >= self._limit:
                step = 1.0 if self._limit < self._known else 1.0 / self._limit
                self._limit = min(float(self._bounds.most), self._limit + step)
                self._fill()

    def leave(self, place: _Place) -> None:
        """Give the place to whose turn it is."""
        with self._lock:
            self._usual += 0.1 * (self._clock() - place.start - self._usual)
            self._in_flight -= 1
            self._fill()

    def cut(self, place: _Place, *, told: bool) -> None:
        """Shrink the limit, once for all the calls that were under way together.

        told: the provider asked for it. A 503 or a timeout may also be an outage, which fewer calls do not cure:
        these leave a tenth of the places.
        """
        with self._lock:
            if place.cuts != self._cuts:
                return
            self._cuts += 1
            floor = self._bounds.least if told else max(self._bounds.least, self._bounds.most // 10)
            self._limit = max(self._limit * CUT, min(float(floor), self._limit))
            if self._answered:  # else nothing is answered at all, and that says nothing about how many are too many
                self._known = self._limit
            self._answered = False

    def row(self) -> dict[str, int]:
        with self._lock:
            limit, waiting = int(self._limit), len(self._waiting)
            return {"in_flight": self._in_flight, "limit": limit, "most": self._bounds.most, "waiting": waiting}

    def _lined_up(self, call: Call) -> Waiter:
        """Stand in the line, in another's place if it is full and he is greedier."""
        if self._bounds.wait <= 0:
            raise self._refusal()
        waiter = Waiter(call.tenant, call.priority)
        if len(self._waiting) >= max(1.0, self._limit / 4):
            gone = self._waiting.make_room(waiter)
            if gone is waiter:
                raise self._refusal()
            gone.woken.set()
        self._waiting.enter(waiter)
        return waiter

    def _after_waiting(self, waiter: Waiter, call: Call) -> _Place:
        with self._lock:
            if not waiter.placed:
                self._waiting.leave(waiter)
            elif not call.lifetime.ended:
                return _Place(self._cuts, self._clock())
            else:
                self._in_flight -= 1
                self._fill()
            if call.lifetime.ended:
                raise CallEnded("the caller left before the provider was asked")
            raise self._refusal()

    def _free(self) -> bool:
        return self._in_flight < int(self._limit)

    def _place(self) -> _Place:
        self._in_flight += 1
        return _Place(self._cuts, self._clock())

    def _fill(self) -> None:
        while self._waiting and self._free():
            waiter = self._waiting.next()
            self._in_flight += 1
            waiter.placed = True
            waiter.woken.set()

    def _refusal(self) -> Overloaded:
        hint = min(LONGEST_HINT, max(1.0, self._usual))
        return Overloaded("Too many calls to this provider are under way.", retry_after=hint)


class Gates:
    """Bound the calls under way at each provider; a place is held until the reply has ended.

    limits: most calls at once by provider, where it is not `most`; both in this process
    least: a provider's limit never shrinks below; wait: seconds a call waits for a place
    """

    def __init__(
        self,
        limits: Mapping[str, int] | None = None,
        *,
        most: int = 512,
        least: int = 4,
        wait: float = 0.05,
        clock: Monotonic = monotonic,
    ) -> None:
        self._limits = dict(limits or {})
        self._usual = _Bounds(most, least, wait)
        self._clock = clock
        self._lock = threading.Lock()
        self._gates: dict[str, _Gate] = {}

    def __call__(self, call: Call, proceed: Handler) -> Reply:
        gate = self._of((call.target or call.targets[0]).provider)
        place = gate.enter(call)
        try:
            reply = proceed(call)
        except BaseException as error:
            self._over(gate, place, call, error)
            raise
        gate.answered()
        return reply.when_ended(lambda _, error: self._over(gate, place, call, error))

    def states(self) -> list[dict[str, Any]]:
        """Return a JSON row per provider: provider, in_flight, limit, most, waiting."""
        with self._lock:
            gates = list(self._gates.items())
        return [{"provider": name, **gate.row()} for name, gate in gates]

    def _over(self, gate: _Gate, place: _Place, call: Call, error: BaseException | None) -> None:
        told = asks_to_slow_down(error, call)
        if told or seems_busy(error, call, self._clock() - place.start):
            gate.cut(place, told=told)
        gate.leave(place)

    def _of(self, provider: str) -> _Gate:
        gate = self._gates.get(provider)
        if gate is None:
            most = self._limits.get(provider, self._usual.most)
            bounds = _Bounds(most, min(self._usual.least, most), self._usual.wait)
            with self._lock:
                gate = self._gates.setdefault(provider, _Gate(bounds, self._clock))
        return gate
