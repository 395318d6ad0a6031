"""An application that is made when it is first asked for."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send


class Deferred:
    """Stands for an application that takes longer to make than all the rest takes to start."""

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        """Make nothing yet."""
        self._make = make
        self._making = asyncio.Lock()
        self._is_made = False

    @cached_property
    def app(self) -> ASGIApp:
        """The application; the same whoever asks."""
        return self._make()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on; the first to come wait until it is made, and nobody else does."""
        if not self._is_made:
            async with self._making:
                await asyncio.to_thread(lambda: self.app)
                self._is_made = True
        await self.app(scope, receive, send)
