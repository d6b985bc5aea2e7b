"""Whom a good key stands for, and what is remembered of a key that was shown."""

import ipaddress
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from llmapi.core.errors import ValidationFailed
from llmapi.core.identity import Identity, Payer
from llmapi.tenants.key_rows import ApiKey

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """Whom a key stands for; `identity` is what a request goes by when it names no user."""

    identity: Identity
    id: str
    requires_signature: bool
    may_name_user: bool

    def named(self, user: str) -> Identity:
        """Return the identity of a request that names its user."""
        return replace(self.identity, payer=replace(self.identity.payer, user=user))


@dataclass(frozen=True, slots=True)
class Known:
    """What is remembered of a key: whom it stands for (None: nobody), since which change, until when, from where."""

    version: int
    holder: KeyHolder | None = None
    until: datetime | None = None
    networks: tuple[Network, ...] = ()

    def let_in(self, now: datetime, address: str) -> KeyHolder | None:
        """Return the holder if the key is good now and from there."""
        if self.until is not None and now >= self.until:
            return None
        if self.networks and not within(address, self.networks):
            return None
        return self.holder


class Memory:
    """What is known by key or id, for a bounded number of them: beyond that the eldest is forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[Hashable, Known] = {}
        self.get: Final = self._known.get

    def put(self, name: Hashable, known: Known) -> None:
        """Remember; several threads may at once."""
        self.drop(name)
        self._known[name] = known
        while len(self._known) > self._most:
            try:
                self._known.pop(next(iter(self._known)), None)
            except (StopIteration, RuntimeError):  # another thread changed it in this moment, and makes room itself
                return

    def drop(self, name: Hashable) -> None:
        """Forget."""
        self._known.pop(name, None)


def holder_of(row: ApiKey, plan: str) -> KeyHolder:
    """Return whom a key stands for; `plan` is its tenant's."""
    identity = Identity(
        row.tenant,
        f"key-{row.id}",
        Payer(row.project, row.id),
        row.granted,
        row.role,
        row.plan or plan,
    )
    return KeyHolder(identity, row.id, row.requires_signature, row.may_name_user)


def networks_of(addresses: Sequence[str]) -> tuple[Network, ...]:
    """Return addresses and networks as networks; raises ValidationFailed naming `addresses`."""
    found = []
    for address in addresses:
        try:
            network = ipaddress.ip_network(address)
        except ValueError:
            wrong = f"{address[:64]!r} is no address and no network; write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32."
            raise ValidationFailed("an address cannot be read", fields={"addresses": [wrong]}) from None
        found.append(unmapped(network))
    return tuple(found)


def unmapped(network: Network) -> Network:
    """Return an IPv4 network that is written within IPv6 (::ffff:192.0.2.0/120) as itself."""
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        inner = network.network_address.ipv4_mapped
        if inner is not None:
            return ipaddress.IPv4Network((inner, network.prefixlen - 96))
    return network


def within(address: str, networks: Sequence[Network]) -> bool:
    """Say whether an address is in one of the networks; what is no address is in none."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(known, ipaddress.IPv6Address) and known.ipv4_mapped is not None:
        known = known.ipv4_mapped
    return any(known in network for network in networks)
