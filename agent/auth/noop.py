"""LCS's ``noop``: everybody is the one anonymous user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.model import Caller

if TYPE_CHECKING:
    from collections.abc import Mapping

ANONYMOUS = "00000000-0000-0000-0000-000"
"""LCS's id of the user that is nobody in particular."""


class Noop:
    """Asks nothing."""

    async def caller(self, headers: Mapping[str, str]) -> Caller:  # noqa: ARG002 - the protocol's
        """Return the anonymous user."""
        return Caller(ANONYMOUS)
