"""Which tools MCP servers have, kept for a minute: apart for every caller who is shown to them."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec

from agent.stacks.turn import Json  # noqa: TC001 - msgspec resolves the annotations of fields

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

KEEP_SECONDS = 60.0
"""How long the tools of a server are taken to be the same."""
MOST = 256
"""How many listings are kept, those that were asked for last."""


class McpTool(msgspec.Struct, frozen=True):
    """A tool of a server."""

    name: str
    description: str
    input_schema: Json


class _Listing:
    """The tools of a server as a caller sees them; they are asked for once at a time."""

    def __init__(self) -> None:
        self.asking = asyncio.Lock()
        self.tools: tuple[McpTool, ...] = ()
        self.until = 0.0


class Listings:
    """What was listed. Of what callers showed only a keyed hash is kept."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = MOST) -> None:
        """Nothing is listed; ``clock`` gives seconds."""
        self._clock = clock
        self._most = most
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[tuple[str, bytes], _Listing] = OrderedDict()

    async def of(
        self,
        server: str,
        given: Mapping[str, str],
        ask: Callable[[], Awaitable[tuple[McpTool, ...]]],
    ) -> tuple[McpTool, ...]:
        """Return the tools of a server for whoever gave these headers; ``ask`` when they are not known."""
        listing = self._listing(server, given)
        async with listing.asking:
            if self._clock() >= listing.until:
                listing.tools = await ask()
                listing.until = self._clock() + KEEP_SECONDS
            return listing.tools

    def _listing(self, server: str, given: Mapping[str, str]) -> _Listing:
        shown = msgspec.json.encode(given, order="deterministic") if given else b""
        key = (server, hashlib.blake2b(shown, key=self._key).digest())
        listing = self._known.setdefault(key, _Listing())
        self._known.move_to_end(key)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return listing
