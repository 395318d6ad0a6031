"""What an authentication module is: it sees what a request shows, and tells whose it is."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - msgspec resolves the annotations of fields
from typing import Protocol

import msgspec

USERNAME = "lightspeed-user"
"""LCS's name of every user of a module that knows no names."""

ID_CHARS = 255


class Presented(msgspec.Struct, frozen=True):
    """What a request shows of who sends it; names of headers are lower-case, ``query`` is as it came.

    ``address`` is the peer's, "" where there is none to tell. ``surface`` is what the request came by,
    such as ``jsonrpc``.
    """

    headers: Mapping[str, str]
    query: bytes = b""
    address: str = ""
    surface: str = ""

    def __repr__(self) -> str:
        return f"Presented(address={self.address!r})"


class Identity(msgspec.Struct, frozen=True):
    """Somebody. ``roles`` come beside ``*``, which everybody has; ``token`` is what was shown as bearer.

    ``skip_user_id_check`` is LCS's: the id was not told by anybody who could know. ``org_id`` is the
    organization's, where one is told.
    """

    user_id: str
    username: str = USERNAME
    roles: frozenset[str] = frozenset()
    token: str = ""
    skip_user_id_check: bool = False
    org_id: str = ""

    def __repr__(self) -> str:
        return f"Identity({self.user_id!r})"


def can_be_id(text: str) -> bool:
    """Tell whether a user can have this id, or this name."""
    return 1 <= len(text) <= ID_CHARS and text.isprintable()


class Authenticator(Protocol):
    """One of LCS's modules. Constructed without I/O."""

    always_checks: bool
    """Whether credentials are checked however many were wrong before: where no guess could be right, and
    a check costs little."""

    async def open(self) -> None:
        """Get ready; a source that cannot be reached now is no error yet."""

    async def close(self) -> None:
        """Give everything back; safe to call when ``open`` failed."""

    def credential(self, presented: Presented) -> str | None:
        """Return the one thing that ``identify`` checks; None when nothing is shown that can be wrong."""

    async def identify(self, presented: Presented) -> Identity:
        """Tell who it is.

        Raises ``Unauthenticated``, ``MalformedCredentials``, ``PermissionDenied``, and
        ``IdentityUnavailable`` when that cannot be found out: nobody is anonymous for that reason.
        """


class Immediate:
    """A module that needs nothing but the request."""

    always_checks = True

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to give back."""

    def credential(self, presented: Presented) -> str | None:  # noqa: ARG002 - others look at it
        """Nothing is checked."""
        return None
