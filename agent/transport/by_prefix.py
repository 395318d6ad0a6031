"""Several applications, told apart by how their paths begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send


class ByPrefix:
    """Passes a request on, with its path as it is."""

    def __init__(self, apps: Mapping[str, ASGIApp], others: ASGIApp) -> None:
        """``apps`` have those below one segment, such as ``/v1alpha``; ``others`` have all other paths."""
        self.apps = dict(apps)
        self.others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on."""
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        first = path.find("/", 1)
        app = self.apps.get(path if first < 0 else path[:first], self.others)
        await app(scope, receive, send)
