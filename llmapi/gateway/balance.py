"""Which of several candidates is asked first, and which ones after it: the ways to balance that a route may name.

weighted: the n-th is drawn by weight among those left (Efraimidis and Spirakis, "Weighted random sampling with a
reservoir", 2006). round_robin: nginx's smooth weighted round robin. least_in_flight: running calls by weight, ties
drawn by weight. lowest_latency: the quicker of two random candidates (Mitzenmacher, "The power of two choices in
randomized load balancing", 2001) by Finagle's Peak EWMA of the time to the first chunk times running calls + 1.
"""

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, inf, log

from cachetools import LRUCache

from llmapi.core.calls import Call, Target
from llmapi.core.clock import Monotonic, monotonic
from llmapi.core.errors import LlmApiError, ProviderTimeout
from llmapi.core.routing import Balance

REMEMBERED = 1000  # targets, and routes
DECAY = 10.0  # seconds in which what a wait weighs falls to 1/e: Finagle's default
PENALTY = 5.0  # seconds a failure counts as, so that failing fast is not taken for being quick

Chance = Callable[[], float]  # uniform in [0, 1)


class Load:
    """What is known of one target: how many calls are running there, and how long it lets them wait. Thread-safe."""

    def __init__(self) -> None:
        self.running = 0
        self._wait = 0.0  # seconds to the first chunk as of `_as_of`; 0.0 until it is known
        self._as_of = 0.0
        self._lock = threading.Lock()

    def enter(self) -> None:
        """Count one more running call."""
        with self._lock:
            self.running += 1

    def leave(self) -> None:
        """Count one running call less."""
        with self._lock:
            self.running -= 1

    def waited(self, seconds: float, now: float) -> None:
        """Learn from one wait: a longer one counts at once, a shorter one little by little."""
        with self._lock:
            kept = exp((self._as_of - now) / DECAY)
            self._wait = seconds if seconds > self._wait else self._wait * kept + seconds * (1 - kept)
            self._as_of = now

    def failed(self, seconds: float, now: float) -> None:
        """Learn that it takes at least so long: what a failure tells never makes a target look quicker."""
        with self._lock:
            self._wait = max(seconds, self._wait * exp((self._as_of - now) / DECAY))
            self._as_of = now

    def cost(self, now: float) -> float:
        """Return what one more call is expected to wait; it fades, so that who was slow or failed is tried again.

        Nobody knows how long a new target takes: it costs nothing until it is asked, and then more than any other
        until it has answered.
        """
        with self._lock:
            wait = self._wait * exp((self._as_of - now) / DECAY)
            if wait == 0.0 and self.running:
                return inf
            return wait * (self.running + 1)


class Asking:
    """One candidate being asked, from the moment it is sent the call to the end of its reply."""

    def __init__(self, load: Load, clock: Monotonic) -> None:
        self._load = load
        self._clock = clock
        self._start = clock()
        self._answered = False
        load.enter()

    def answered(self) -> None:
        """Learn that the first chunk is in hand."""
        self._answered = True
        now = self._clock()
        self._load.waited(now - self._start, now)

    def ended(self, failure: LlmApiError | None = None) -> None:
        """Learn that the asking is over. `failure` is the target's own fault, if there was one."""
        self._load.leave()
        if failure is not None:
            now = self._clock()
            waited = 0.0 if self._answered else now - self._start
            # how short a time to give is the caller's choice, so a timeout says no more than that it took so long
            least = 0.0 if isinstance(failure, ProviderTimeout) else PENALTY
            self._load.failed(max(waited, least), now)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A target that may be asked first: its place in the written order, and its share of the calls, above 0."""

    place: int
    target: Target
    weight: float


Order = Sequence[Candidate]


class Balancer:
    """Put the candidates of a call in the order in which they are asked; thread-safe, for one process.

    clock, random: time and chance, replaced by tests
    """

    def __init__(self, clock: Monotonic = monotonic, random: Chance = random.random) -> None:
        self._clock = clock
        self._random = random
        self._lock = threading.Lock()
        self._loads: LRUCache[tuple[str, str], Load] = LRUCache(REMEMBERED)
        self._turns: LRUCache[tuple[str, tuple[Target, ...]], list[float]] = LRUCache(REMEMBERED)
        self._ways: dict[Balance, Callable[[Call, Order], Order]] = {
            "ordered": lambda _, candidates: candidates,
            "weighted": self._weighted,
            "round_robin": self._round_robin,
            "least_in_flight": self._least_in_flight,
            "lowest_latency": self._lowest_latency,
        }

    def order(self, call: Call, resting: Callable[[Target], bool]) -> list[Target]:
        """Return all candidates: by the policy's balance, then those that weigh nothing, last those that rest."""
        if len(call.targets) < 2:
            return list(call.targets)
        first: list[Candidate] = []
        spare: list[Target] = []
        last: list[Target] = []
        for place, (target, weight) in enumerate(zip(call.targets, weights_of(call))):
            if resting(target):
                last.append(target)
            elif weight > 0:
                first.append(Candidate(place, target, weight))
            else:
                spare.append(target)
        if len(first) > 1:
            first = list(self._ways[call.policy.balance](call, first))
        return [*(each.target for each in first), *spare, *last]

    def started(self, target: Target) -> Asking:
        """Count a candidate as being asked from now on; who asks it says how that went on."""
        return Asking(self._load(target), self._clock)

    def running(self, target: Target) -> int:
        """Return how many calls of this process are running at a target."""
        return self._load(target).running

    def _load(self, target: Target) -> Load:
        key = (target.provider, target.model)
        with self._lock:
            load = self._loads.get(key)
            if load is None:
                load = self._loads[key] = Load()
            return load

    def _draw(self, weight: float) -> float:
        """Return a random number; the lowest of several is drawn with chances as the weights are."""
        return -log(1.0 - self._random()) / weight

    def _weighted(self, _: Call, candidates: Order) -> Order:
        return sorted(candidates, key=lambda each: self._draw(each.weight))

    def _round_robin(self, call: Call, candidates: Order) -> Order:
        key = (call.policy.name, call.targets)
        with self._lock:
            turns = self._turns.get(key)
            if turns is None:
                turns = self._turns[key] = [0.0] * len(call.targets)
            for each in candidates:
                turns[each.place] += each.weight
            turn = sorted(candidates, key=lambda each: -turns[each.place])
            turns[turn[0].place] -= sum(each.weight for each in candidates)
        return turn

    def _least_in_flight(self, _: Call, candidates: Order) -> Order:
        def load(each: Candidate) -> tuple[float, float]:
            return self._load(each.target).running / each.weight, self._draw(each.weight)

        return sorted(candidates, key=load)

    def _lowest_latency(self, _: Call, candidates: Order) -> Order:
        now = self._clock()

        def cost(each: Candidate) -> tuple[float, float]:
            load = self._load(each.target)
            return load.cost(now) / each.weight, load.running / each.weight

        costs = {each.place: cost(each) for each in candidates}
        ranked = sorted(candidates, key=lambda each: costs[each.place])
        if costs[ranked[0].place][0] == 0.0:
            return ranked  # a new one is asked once, so that it gets known
        winner = ranked.pop(self._better_of_two(len(ranked)))
        return [winner, *ranked]

    def _better_of_two(self, count: int) -> int:
        """Return the lower one of two different random places in a ranking."""
        one, other = int(self._random() * count), int(self._random() * (count - 1))
        return min(one, other if other < one else other + 1)


def weights_of(call: Call) -> Sequence[float]:
    """Return a weight for each candidate; in the written order, and where none weighs anything, all are alike."""
    policy = call.policy
    if policy.balance == "ordered" or len(policy.weights) != len(call.targets) or not any(policy.weights):
        return (1.0,) * len(call.targets)
    return policy.weights
