"""What stands between a URL that a caller chose and the network of this server."""

from __future__ import annotations

import asyncio
import re
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from agent.outgoing.addresses import Allowed

    type Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

URL_CHARS = 2048
RESOLVE_SECONDS = 5.0
ADDRESSES = 4
"""Most addresses of one host that are tried."""

# One text for all: what a name stands for inside this network is nobody's business.
NOT_PUBLIC = "must name a host that has public addresses only"
_HOST = re.compile(rb"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
# Names of one label, and of domains that are for networks of one's own, are never of the internet.
_IN_THE_INTERNET = re.compile(
    r"(?!(.*\.)?(corp|home|home\.arpa|internal|intranet|lan|local|localhost|private)\.?$).+\..+"
)
# What resolvers read as an IPv4 address, however it is written.
_NUMERIC = re.compile(r"(.*\.)?(\d+|0x[0-9a-f]*)")
_FIRST_UNPRIVILEGED_PORT = 1024
_PORTS = {"http": 80, "https": 443}


class Refused(Exception):
    """A URL or address is not called; ``problem`` is for whoever gave it."""

    def __init__(self, problem: str) -> None:
        """Keep the problem."""
        self.problem = problem
        super().__init__(problem)


class Unresolved(Refused):
    """The name of a host stands for nothing, for now."""


class Guard:
    """Checks URLs when they are given, and addresses when they are called."""

    def __init__(
        self,
        resolve: Resolve,
        allowed: Allowed,
        *,
        https_only: bool = False,
        ports: Collection[int] = (),
        resolve_seconds: float = RESOLVE_SECONDS,
    ) -> None:
        """Without ``ports`` it is 80, 443, and those that need no privileges: 1024 and above."""
        self._resolve = resolve
        self._allowed = allowed
        self._schemes = {"https"} if https_only else {"https", "http"}
        self._ports = frozenset(ports)
        self._seconds = resolve_seconds

    async def check(self, text: str) -> httpx.URL:
        """Return the URL that ``text`` is; raises ``Refused`` for one that is not called.

        A name that is not known yet may be by the time of the call, which checks again.
        """
        url = self.parse(text)
        host = url.raw_host.decode("ascii")
        try:
            await self.addresses(host, port_of(url))
        except Unresolved:
            if not _IN_THE_INTERNET.fullmatch(host):
                raise
        return url

    def parse(self, text: str) -> httpx.URL:
        """Return the URL as it is called; raises ``Refused``. Nothing is resolved."""
        if len(text) > URL_CHARS:
            raise Refused(f"must have at most {URL_CHARS} characters")
        try:
            url = httpx.URL(text)
        except (httpx.InvalidURL, ValueError) as exc:
            # ValueError: what the library for international names says of them.
            raise Refused("must be an absolute URL") from exc
        if url.scheme not in self._schemes:
            raise Refused(
                f"must begin with {' or '.join(f'{s}://' for s in sorted(self._schemes))}"
            )
        if url.userinfo or "@" in text.partition("://")[2].partition("/")[0]:
            raise Refused("must not have a user or password")
        if not _is_host(url.raw_host):
            raise Refused("must have the name or address of a host")
        if not self._is_port(port_of(url)):
            raise Refused("has a port that is not called")
        return url

    async def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of ``host``; raises ``Refused`` unless every one may be called."""
        try:
            async with asyncio.timeout(self._seconds):
                found = await self._resolve(host, port)
        except (OSError, TimeoutError) as exc:
            raise Unresolved(NOT_PUBLIC) from exc
        except UnicodeError as exc:
            raise Refused(NOT_PUBLIC) from exc
        if not found or not all(self._allowed.may_call(host, address) for address in found):
            raise Refused(NOT_PUBLIC)
        return list(found[:ADDRESSES])

    def _is_port(self, port: int) -> bool:
        if self._ports:
            return port in self._ports
        return port in _PORTS.values() or _FIRST_UNPRIVILEGED_PORT <= port <= 0xFFFF


def port_of(url: httpx.URL) -> int:
    """Return the port of a URL, also when it does not say."""
    return url.port if url.port is not None else _PORTS[url.scheme]


def _is_host(host: bytes) -> bool:
    if b":" in host:
        return _is_address(IPv6Address, host.decode("ascii")) and b"%" not in host
    if not _HOST.fullmatch(host):
        return False
    # As browsers do: a name that ends in a number is an address, or nothing.
    name = host.decode("ascii").removesuffix(".")
    return not _NUMERIC.fullmatch(name) or _is_address(IPv4Address, host.decode("ascii"))


def _is_address(kind: type[IPv4Address | IPv6Address], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True
