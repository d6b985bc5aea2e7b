"""What a call may cost is held of its budgets before a provider is asked, and what it did cost is booked at its end.

The hold is under the call's `entry`: the ledger settles it when Telemetry tells the end. It covers one asking at the
dearest candidate; from the second on more is held, unless the one before surely cost nothing.
"""

from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from llmapi.core.calls import NOTHING, Call, Target, Usage
from llmapi.core.errors import ContextTooLong, ProviderHungUp, ProviderThrottled, ProviderUnavailable
from llmapi.core.identity import Payer
from llmapi.core.money import Cost
from llmapi.core.reply import Handler, Reply
from llmapi.costs.reservations import Hold
from llmapi.costs.tokens import bounded_input, bounded_output
from llmapi.gateway.blame import never_sent
from llmapi.gateway.route import StoredKeys, none_stored


GAVE_UP = frozenset({408, 499, 504, 524})  # statuses of a server in between: who works behind it may work on


class Holds(Protocol):
    """Who holds money (costs/ledger.py)."""

    def reserve(self, call: Call, budgets: tuple[str, ...], amount: int | None) -> Hold: ...

    def send(self, hold: Hold) -> None: ...


class Applying(Protocol):
    """Who knows which budgets a call draws on (costs/budgets.py); asked of every call."""

    def applying(self, tenant: str, payer: Payer, targets: tuple[Target, ...]) -> tuple[str, ...]: ...


class Bounds(Protocol):
    """What tokens cost at most."""

    def bound(self, target: Target, most: Usage) -> Cost: ...


class Budgeting:
    """Refuse a call that its budgets have no room for; let through what costs the operator nothing.

    keys: what tenants have stored to be used instead of the operator's
    """

    def __init__(self, budgets: Applying, holds: Holds, prices: Bounds, keys: StoredKeys = none_stored) -> None:
        self._budgets, self._holds, self._prices, self._keys = budgets, holds, prices, keys

    def __call__(self, call: Call, proceed: Handler) -> Reply:
        budgets = self._budgets.applying(call.tenant, call.payer, call.targets)
        if not budgets or call.provider_key:
            return proceed(call)
        most = self._most(call)
        if most == 0:
            return proceed(call)
        hold = self._holds.reserve(call, budgets, most)
        sending, refused = partial(self._sending, call, hold), partial(_refused, call, hold)
        reply = proceed(replace(call, sending=sending, refused=refused))
        hold.begun = True
        return reply

    def _most(self, call: Call) -> int | None:
        """Return the most one asking may cost the operator in nano-dollars; None when a price is not known."""
        most = Usage(bounded_input(call), bounded_output(call))
        paid = [target for target in call.targets if not self._keys(call.tenant, target.provider)]
        costs = [self._prices.bound(target, most).nanos for target in paid]
        known = [cost for cost in costs if cost is not None]
        return max(known, default=0) if len(known) == len(costs) else None

    def _sending(self, call: Call, hold: Hold) -> None:
        self._holds.send(hold)
        try:
            call.sending()
        except BaseException:
            hold.open, hold.spare = False, True
            raise


def _refused(call: Call, hold: Hold, error: Any) -> None:
    """Note what an asking without an answer can have cost."""
    hold.open = False
    if surely_free(error):
        hold.spare = True
    elif error.usage == NOTHING:
        hold.doubt += hold.asking
    call.refused(error)


def surely_free(error: Any) -> bool:
    """Say whether the provider did no work for this failure: it said so by its status, or was not reached."""
    if error.usage != NOTHING:
        return False
    if never_sent(error) or isinstance(error, ProviderThrottled | ContextTooLong):
        return True
    if status := error.details.get("provider_status"):
        return status not in GAVE_UP
    return isinstance(error, ProviderUnavailable) and not isinstance(error, ProviderHungUp)
