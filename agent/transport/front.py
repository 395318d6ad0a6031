"""What every HTTP request passes first: it has to cost next to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from agent.transport.cors import Cors
from agent.transport.security_headers import security_headers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from agent.settings import Settings
    from agent.transport.security_headers import Header


class Front:
    """Puts the path below ``root_path``, asks CORS about browsers, adds the security headers."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        """Wrap ``app``."""
        self._app = app
        self._cors = Cors(app, settings)
        self._added = {header[0]: header for header in security_headers(settings.service)}
        self._root = settings.service.root_path

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass everything on. No coroutine of its own: that would be half of what this costs."""
        if scope["type"] != "http":
            return self._app(scope, receive, send)
        if self._root:
            _place(scope, self._root)

        def sending(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._completed(message.get("headers", ()))}
            return send(message)

        for name, _ in scope["headers"]:
            if name == b"origin":
                return self._cors(scope, receive, sending)
        return self._app(scope, receive, sending)

    def _completed(self, given: Collection[Header]) -> list[Header]:
        """Add the headers that are not given."""
        for name, _ in given:
            if name in self._added:
                names = {name for name, _ in given}
                return [
                    *given,
                    *(header for name, header in self._added.items() if name not in names),
                ]
        return [*given, *self._added.values()]


def _place(scope: Scope, root: str) -> None:
    """Say where the application stands, whether a proxy has taken the prefix off the path or not."""
    path: str = scope["path"]
    if path == root:
        scope["path"] = f"{root}/"
        if "raw_path" in scope:
            scope["raw_path"] += b"/"
    elif not path.startswith(f"{root}/"):
        scope["path"] = root + path
        if "raw_path" in scope:
            scope["raw_path"] = quote(root).encode("ascii") + scope["raw_path"]
    scope["root_path"] = root
