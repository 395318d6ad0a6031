"""Who fetches what callers name by its URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.outgoing.fetch import Fetched


class Fetch(Protocol):
    """Gets a URL, as ``agent.outgoing.fetch.Fetching`` does."""

    async def get(
        self,
        url: str,
        max_bytes: int,
        *,
        field: str = "url",
        count: Callable[[int], None] | None = None,
    ) -> Fetched:
        """Return what is there; raises ``InvalidParams`` about ``field``, and ``PayloadTooLarge``.

        ``count`` is told how many bytes come before they are kept, and may raise.
        """
