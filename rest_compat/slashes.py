"""A slash at the end of a path is forgiven: LCS redirects, to the host that the caller has named."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import ASGIApp, Receive, Scope, Send


class Forgiving:
    """Takes one slash off the end of paths, but that of the page at the root."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap ``app``."""
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass everything on."""
        if scope["type"] == "http" and scope["path"].endswith("/"):
            bare: str = scope["path"][:-1]
            # What ends with two is no path of ours.
            if bare != scope.get("root_path", "") and not bare.endswith("/"):
                scope["path"] = bare
        return self._app(scope, receive, send)
