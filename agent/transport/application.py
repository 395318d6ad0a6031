"""The application with what stands before it, and a way past the router."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, override

from starlette.applications import Starlette

from agent.transport.front import Front

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from agent.settings import Settings


class Application(Starlette):
    """Starlette's, but that what it answers when something broke passes ``Front`` as well."""

    def __init__(self, settings: Settings, **arguments: Any) -> None:
        """``arguments`` are Starlette's."""
        super().__init__(**arguments)
        self._settings = settings

    @override
    def build_middleware_stack(self) -> ASGIApp:
        return Front(super().build_middleware_stack(), self._settings)


class Straight:
    """Takes JSON-RPC past the router, which would cost a tenth of a call."""

    def __init__(self, app: ASGIApp, endpoint: ASGIApp, paths: Iterable[str], root: str) -> None:
        """``paths`` are those of ``endpoint`` below ``root``, which may be empty."""
        self._app = app
        self._endpoint = endpoint
        self._paths = frozenset(root + path for path in paths) | ({root} if root else set())

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass a request on to whom it is for."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in self._paths:
            return self._endpoint(scope, receive, send)
        return self._app(scope, receive, send)
