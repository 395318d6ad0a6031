"""``X-Llama-Stack-Engine``: what has answered an operation of the experimental API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders

from agent.engines.operations import OPERATIONS
from agent.engines.told import hearing

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from agent.engines.engines import Engines

HEADER = "X-Llama-Stack-Engine"
_BY_ROUTE = {(each.method, each.path): each for each in OPERATIONS}


class EngineHeader:
    """Adds the header to each answer of an operation, errors too: what was told, or else is presumed."""

    def __init__(self, app: ASGIApp, engines: Engines) -> None:
        """Wrap ``app``, a FastAPI application."""
        self._app = app
        self._engines = engines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and add the header when the answer begins."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with hearing() as told:

            async def sending(message: Message) -> None:
                if message["type"] == "http.response.start":
                    # A route that takes a path as id says so in its template.
                    path = getattr(scope.get("route"), "path", "").replace(":path}", "}")
                    operation = _BY_ROUTE.get((scope["method"], path))
                    if operation is not None:
                        engine = told.get(operation.group) or self._engines.presumed(operation)
                        MutableHeaders(scope=message)[HEADER] = engine
                await send(message)

            await self._app(scope, receive, sending)
