"""Which addresses of the internet protocol may be called."""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Public by their number, and yet not of the internet: IETF's block (with a cloud's metadata service in it),
# the relays of 6to4, the host that serves Azure's virtual machines.
_NOT_PUBLIC_V4 = tuple(map(IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")))
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# IETF's block (Teredo is in it), 6to4, and addresses for documents.
_NOT_PUBLIC_V6 = tuple(map(IPv6Network, ("2001::/23", "2002::/16", "2001:db8::/32", "3fff::/20")))
_NAT64 = IPv6Network("64:ff9b::/96")


class Allowed:
    """Hosts and networks that may be called although they are not public."""

    def __init__(self, entries: Iterable[str] = ()) -> None:
        """``entries`` are host names, addresses and networks in CIDR notation."""
        self._networks: list[IPv4Network | IPv6Network] = []
        self._hosts: set[str] = set()
        for entry in entries:
            try:
                self._networks.append(ip_network(entry, strict=False))
            except ValueError:
                self._hosts.add(entry.lower())

    def may_call(self, host: str, address: str) -> bool:
        """Whether ``address``, which ``host`` stands for, may be called."""
        if host.lower().removesuffix(".") in self._hosts:
            return True
        try:
            number = _unwrapped(address)
        except ValueError:
            return False
        return _is_public(number) or any(number in network for network in self._networks)


def _unwrapped(address: str) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address only carries."""
    number = ip_address(address)
    if isinstance(number, IPv6Address):
        if number.ipv4_mapped is not None:
            return number.ipv4_mapped
        if number.scope_id is None and number in _NAT64:
            return IPv4Address(int(number) & 0xFFFFFFFF)
    return number


def _is_public(number: IPv4Address | IPv6Address) -> bool:
    if isinstance(number, IPv4Address):
        return (
            number.is_global
            and not (number.is_multicast or number.is_reserved)
            and not any(number in network for network in _NOT_PUBLIC_V4)
        )
    return (
        number.scope_id is None
        and number.is_global
        and number in _GLOBAL_UNICAST
        and not any(number in network for network in _NOT_PUBLIC_V6)
    )
