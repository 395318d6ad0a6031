"""A real MCP server with a door before it that asks for credentials."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class McpServer:
    """Adds numbers. ``key`` is the value of ``Authorization`` that it wants; None lets all in.

    With ``only_calls`` it is asked for when a tool is called, not before. ``calls`` holds the
    arguments of every call that ran, ``seen`` the authorization of every request.
    """

    def __init__(
        self, key: str | None = None, *, status: int = 401, only_calls: bool = False
    ) -> None:
        from mcp.server.mcpserver import MCPServer

        self.key = key
        self.status = status
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
            await Response("no", self.status)(scope, receive, send)
            return
        await self._inner(scope, receive, send)


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
