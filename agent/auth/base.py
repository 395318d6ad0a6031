"""What an authentication module is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.model import Caller


class Authenticator(Protocol):
    """Tells whose request this is."""

    async def caller(self, headers: Mapping[str, str]) -> Caller:
        """Return the caller; the names of headers are lower-case."""
