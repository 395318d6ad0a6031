"""Where a request came from, as far as different addresses can be told apart."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address


def network_of(peer: str) -> str:
    """Return what is counted together: an IPv4 address, or the /64 that an IPv6 site has at least.

    What is no address counts together, since whoever wrote it can write others.
    """
    try:
        number = ip_address(peer)
    except ValueError:
        return ""
    if not isinstance(number, IPv6Address):
        return str(number)
    if number.ipv4_mapped is not None:
        return str(number.ipv4_mapped)
    return str(IPv6Network((int(number), 64), strict=False))
