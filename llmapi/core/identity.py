"""Who calls, and who of a tenant pays."""

from dataclasses import dataclass, field
from typing import Final

EVERYTHING: Final = frozenset({"*"})  # all scopes: of the operator's own keys, and while no key is asked for


@dataclass(frozen=True, slots=True)
class Payer:
    """Who within a tenant a call is booked on; "" where nobody is named. It travels with the work: through jobs too."""

    project: str = ""
    key: str = ""  # a key's public id
    user: str = ""  # a caller's own name for its user, from a key that may give one


NOBODY: Final = Payer()


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a request comes from. `name` is what limits count and logs show: never the key itself."""

    tenant: str
    name: str
    payer: Payer = NOBODY
    scopes: frozenset[str] = field(default=EVERYTHING)
    role: str = "admin"
    plan: str = ""  # the named set of limits it is under; "": none of its own
