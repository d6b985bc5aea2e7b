"""The line before a provider that is busy: who goes next, and who is sent away when the line is full.

Higher priorities go first. Among equals each tenant has its turn, one call a turn (round robin: fair queuing with calls
of equal size, Nagle, RFC 970, 1985), and a tenant's own calls go in the order they came. So who sends five hundred
calls waits behind himself, and not others behind him.
"""

import threading
from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Waiter:
    """A call in the line; `woken` is set when it has a place, was sent away, or its time ended."""

    tenant: str
    priority: int
    woken: threading.Event = field(default_factory=threading.Event)
    placed: bool = False


class Line:
    """The calls that wait for a place at one provider. Not safe for threads: the gate has a lock."""

    def __init__(self) -> None:
        self._lanes: dict[int, dict[str, deque[Waiter]]] = {}  # by priority, by tenant, who has the next turn first
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def enter(self, waiter: Waiter) -> None:
        """Stand behind all of the same tenant and priority."""
        self._lanes.setdefault(waiter.priority, {}).setdefault(waiter.tenant, deque()).append(waiter)
        self._length += 1

    def next(self) -> Waiter:
        """Take out whose turn it is; there must be somebody."""
        priority = max(self._lanes)
        lane = self._lanes[priority]
        tenant = next(iter(lane))
        calls = lane.pop(tenant)
        first = calls.popleft()
        if calls:
            lane[tenant] = calls  # behind the other tenants
        elif not lane:
            del self._lanes[priority]
        self._length -= 1
        return first

    def leave(self, waiter: Waiter) -> bool:
        """Take one out whose time is over; False: it is not in the line any more."""
        calls = self._lanes.get(waiter.priority, {}).get(waiter.tenant)
        if calls is None or waiter not in calls:
            return False
        calls.remove(waiter)
        self._length -= 1
        if not calls:
            lane = self._lanes[waiter.priority]
            del lane[waiter.tenant]
            if not lane:
                del self._lanes[waiter.priority]
        return True

    def make_room(self, newcomer: Waiter) -> Waiter:
        """Return who is to go when the line is full: of the lowest priority the last of the tenant with the most.

        It is taken out, unless it is the newcomer himself: he goes when nobody else is greedier.
        """
        lowest = min(self._lanes, default=newcomer.priority)
        if newcomer.priority < lowest:
            return newcomer
        lane = self._lanes.get(lowest, {})
        mine = len(lane.get(newcomer.tenant, ())) + 1 if newcomer.priority == lowest else 0
        greediest = max(lane, key=lambda tenant: len(lane[tenant]), default=newcomer.tenant)
        if len(lane.get(greediest, ())) <= mine:
            return newcomer
        last = lane[greediest][-1]
        self.leave(last)
        return last
