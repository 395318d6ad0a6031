"""How often credentials from one address were wrong, and what follows from that."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import time
from typing import TYPE_CHECKING

from agent.auth.good_credentials import GoodCredentials
from agent.auth.network import network_of
from agent.auth.recent import Recent
from agent.errors import (
    IdentityUnavailable,
    MalformedCredentials,
    TooManyAttempts,
    Unauthenticated,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.auth.base import Identity, Presented
    from agent.settings.own import Limits

    type Identify = Callable[[Presented], Awaitable[Identity]]

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 60.0
WAIT_SECONDS = 10.0
WAITING = 1000
"""Most requests of one address that wait."""

REMEMBERED = 10_000
"""Most addresses with failures, and most good credentials, that are remembered."""

_BUSY = "Too many credentials are being checked"


class _Address:
    """What came from one address; its window begins with the first failure, at ``since``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.since = -math.inf
        self.failures = 0
        self.checking = 0
        self.waiting = 0
        self.freed = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        return not (self.failures or self.checking or self.waiting)


class Attempts:
    """Counts failures by address, and refuses the addresses that failed too often.

    A window of a minute begins with the first failure. With the last one that is allowed in it the
    address is refused until it ends. What is counted is what could be a guess: a request that shows no
    credentials is none, and what becomes of good ones later says nothing about them.
    """

    def __init__(
        self,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        """``wait_seconds`` is the longest that a request waits for those before it to be checked."""
        self._most = limits.auth_failures_per_minute
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._addresses: Recent[str, _Address] = Recent(REMEMBERED)
        self._good = GoodCredentials(REMEMBERED)

    async def count(self, presented: Presented, identify: Identify) -> Identity:
        """Identify in any case; who fails on an address that is refused gets ``TooManyAttempts``."""
        try:
            return await identify(presented)
        except (Unauthenticated, MalformedCredentials) as exc:
            if could_be_guess(exc):
                network = network_of(presented.address)
                self._check(self._address(network))
                self._fail(network)
            raise

    async def guard(self, presented: Presented, credential: str, identify: Identify) -> Identity:
        """Identify unless the address is refused; what was good there lately passes at any time.

        So one caller with wrong credentials does not lock out the others behind the same proxy. What is
        new is checked only as much at a time as may still fail: the limit holds for parallel requests.
        Raises ``TooManyAttempts``, and ``IdentityUnavailable`` when a request would wait for too long.
        """
        network = network_of(presented.address)
        digest = _digest(network, credential)
        place = None if digest in self._good else await self._enter(network)
        try:
            identity = await identify(presented)
        except (Unauthenticated, MalformedCredentials) as exc:
            if could_be_guess(exc):
                self._good.discard(digest)
                self._fail(network)
            raise
        finally:
            if place is not None:
                self._leave(place)
        # Where callers choose their user id, none of them is an owner.
        owner = network if identity.skip_user_id_check else identity.user_id
        self._good.add(digest, owner)
        return identity

    async def _enter(self, network: str) -> _Address:
        """Wait for a place, and take it."""
        address = self._address(network)
        self._check(address)
        if self._is_full(address):
            await self._wait(address)
        address.checking += 1
        self._addresses.put(address.name, address)
        return address

    def _leave(self, address: _Address) -> None:
        """Give the place back."""
        address.checking -= 1
        address.freed.set()
        if address.is_idle:
            self._addresses.drop(address.name)

    def _fail(self, network: str) -> None:
        """Count a failure."""
        address, now = self._address(network), self._clock()
        if now >= address.since + WINDOW_SECONDS:
            address.since, address.failures = now, 0
        address.failures += 1
        self._addresses.put(address.name, address)
        if address.failures == self._most:
            left = math.ceil(address.since + WINDOW_SECONDS - now)
            said = "%d failed authentications from %s within a minute: refused for %d seconds"
            logger.warning(said, address.failures, address.name or "no address", left)

    def _address(self, name: str) -> _Address:
        return self._addresses.get(name) or _Address(name)

    def _check(self, address: _Address) -> None:
        """Raise ``TooManyAttempts`` when the address is refused; begin anew when its window is over."""
        left = address.since + WINDOW_SECONDS - self._clock()
        if left <= 0:
            address.failures = 0
        elif address.failures >= self._most:
            raise TooManyAttempts(math.ceil(left))

    def _is_full(self, address: _Address) -> bool:
        return address.checking + address.failures >= self._most

    async def _wait(self, address: _Address) -> None:
        if address.waiting >= WAITING:
            raise IdentityUnavailable(_BUSY)
        address.waiting += 1
        try:
            async with asyncio.timeout(self._wait_seconds):
                while self._is_full(address):
                    address.freed.clear()
                    await address.freed.wait()
                    self._check(address)
        except TimeoutError as exc:
            raise IdentityUnavailable(_BUSY) from exc
        finally:
            address.waiting -= 1


def could_be_guess(error: BaseException) -> bool:
    """Tell whether credentials that were refused so could have been guessed."""
    if isinstance(error, Unauthenticated):
        return error.counts
    return isinstance(error, MalformedCredentials)


def _digest(network: str, credential: str) -> bytes:
    # Of the address as well: what is good there shows nobody elsewhere that it is good at all.
    return hashlib.sha256(f"{network}\n{credential}".encode("utf-8", "surrogatepass")).digest()
