"""Real MCP servers with a door before them that asks for credentials."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from starlette.responses import RedirectResponse, Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class McpServer:
    """Adds numbers. ``key`` is the value of ``Authorization`` that it wants; None lets all in.

    With ``only_calls`` it is asked for when a tool is called, not before. ``challenge`` is what it says
    in WWW-Authenticate when it refuses. ``calls`` holds the arguments of every call that ran, ``seen``
    the authorization of every request.
    """

    def __init__(
        self,
        key: str | None = None,
        *,
        status: int = 401,
        only_calls: bool = False,
        challenge: str = "",
    ) -> None:
        from mcp.server.mcpserver import MCPServer

        self.key = key
        self.status = status
        self.challenge = challenge
        self.only_calls = only_calls
        self.calls: list[dict[str, Any]] = []
        self.seen: list[str | None] = []
        server = MCPServer("tools")

        @server.tool()
        def add(a: int, b: int) -> str:
            """Add two numbers."""
            self.calls.append({"a": a, "b": b})
            return str(a + b)

        @server.tool()
        def fail() -> str:
            """Always fails, and speaks of credentials."""
            raise ValueError("401 Unauthorized")

        self._inner: ASGIApp = server.streamable_http_app()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, or refuse."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        body, receive = await _read(receive)
        authorization = dict(scope["headers"]).get(b"authorization")
        shown = None if authorization is None else authorization.decode()
        self.seen.append(shown)
        asked = not self.only_calls or _method(body) == "tools/call"
        if asked and self.key is not None and shown != self.key:
            headers = {"WWW-Authenticate": self.challenge} if self.challenge else None
            await Response("no", self.status, headers)(scope, receive, send)
            return
        await self._inner(scope, receive, send)


class PersonalMcpServer:
    """Knows people by a token in ``X-Token``: each has one tool, ``greet_NAME``, and nobody else gets in.

    ``seen`` holds the headers of every request, ``greeted`` who called their tool.
    """

    def __init__(self, people: Mapping[str, str]) -> None:
        """``people`` are names by token."""
        self.seen: list[dict[str, str]] = []
        self.greeted: list[str] = []
        self._apps = {token: self._of(name) for token, name in people.items()}

    def _of(self, name: str) -> Starlette:
        from mcp.server.mcpserver import MCPServer

        server = MCPServer("greetings")

        @server.tool(name=f"greet_{name}")
        def greet() -> str:
            """Greet."""
            self.greeted.append(name)
            return f"Hello {name}"

        return server.streamable_http_app()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve whoever is known."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.seen.append(headers)
        app: ASGIApp = self._apps.get(headers.get("x-token", ""), Response("no", 401))
        await app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as exits:
            for app in self._apps.values():
                await exits.enter_async_context(app.router.lifespan_context(app))
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


class Elsewhere:
    """Sends everybody to another server; ``seen`` holds the headers of every request."""

    def __init__(self, url: str, status: int) -> None:
        self.seen: list[dict[str, str]] = []
        self._answer = RedirectResponse(url, status)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Redirect."""
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        self.seen.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await self._answer(scope, receive, send)


def _method(body: bytes) -> Any:
    try:
        request = json.loads(body)
    except ValueError:
        return None
    return request.get("method") if isinstance(request, dict) else None


async def _read(receive: Receive) -> tuple[bytes, Receive]:
    """Return the body, and a ``receive`` that gives it once more."""
    messages: list[Message] = []
    while True:
        message = await receive()
        messages.append(message)
        if message["type"] != "http.request" or not message.get("more_body"):
            break
    replayed = list(messages)

    async def again() -> Message:
        return replayed.pop(0) if replayed else await receive()

    return b"".join(message.get("body", b"") for message in messages), again
