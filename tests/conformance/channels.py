"""How a call travels: JSON-RPC and HTTP+JSON over httpx."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol, override

from anyio.lowlevel import checkpoint

from tests.conformance.reply import RestReply, RpcReply, read_frame
from tests.conformance.rest_routes import request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    import httpx

    from tests.conformance.reply import Event, Reply
    from tests.conformance.wire import Json, Wire

    type Streamed = AbstractAsyncContextManager[AsyncIterator[Event]]


class Channel(Protocol):
    """One binding, from the side of the client."""

    async def call(self, method: str, params: Json, headers: Mapping[str, str]) -> Reply:
        """Call a method; what a stream says is read to its end."""

    def streaming(self, method: str, params: Json, headers: Mapping[str, str]) -> Streamed:
        """Call a method that streams, and read its events as they come."""


def rpc_call(method: str, params: Json, call_id: Json = 1) -> Json:
    """Return a JSON-RPC request."""
    return {"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}


class RpcChannel(Channel):
    """JSON-RPC."""

    def __init__(self, http: httpx.AsyncClient, wire: Wire) -> None:
        self._http = http
        self._wire = wire

    async def post(
        self, content: bytes | str | Json, path: str, headers: Mapping[str, str]
    ) -> RpcReply:
        """Post anything; what is neither bytes nor a string is written as JSON."""
        body = content if isinstance(content, bytes | str) else json.dumps(content)
        typed = {"Content-Type": "application/json"} | dict(headers)
        response = await self._http.post(path, content=body, headers=typed)
        # In process nothing else makes sure that whoever asks again lets the server run in between.
        await checkpoint()
        return RpcReply(response, self._wire)

    @override
    async def call(self, method: str, params: Json, headers: Mapping[str, str]) -> RpcReply:
        return await self.post(rpc_call(method, params), "/a2a", headers)

    @override
    @asynccontextmanager
    async def streaming(
        self, method: str, params: Json, headers: Mapping[str, str]
    ) -> AsyncIterator[AsyncIterator[Event]]:
        body = rpc_call(method, params)
        stream = self._http.stream("POST", "/a2a", json=body, headers=dict(headers))
        async with stream as response:
            assert response.status_code == 200
            yield _frames(response, self._wire, RpcReply.unwrap)


class RestChannel(Channel):
    """HTTP+JSON; bodies are of the type that the version has for them."""

    def __init__(self, http: httpx.AsyncClient, wire: Wire) -> None:
        self._http = http
        self._wire = wire
        self._type = "application/a2a+json" if wire.version == "1.0" else "application/json"

    def _request(self, method: str, params: Json, headers: Mapping[str, str]) -> httpx.Request:
        verb, url, body = request(self._wire, method, params)
        typed = dict(headers) if body is None else {"Content-Type": self._type} | dict(headers)
        content = None if body is None else json.dumps(body).encode()
        return self._http.build_request(verb, url, content=content, headers=typed)

    @override
    async def call(self, method: str, params: Json, headers: Mapping[str, str]) -> RestReply:
        response = await self._http.send(self._request(method, params, headers))
        await checkpoint()
        return RestReply(response, self._wire)

    @override
    @asynccontextmanager
    async def streaming(
        self, method: str, params: Json, headers: Mapping[str, str]
    ) -> AsyncIterator[AsyncIterator[Event]]:
        response = await self._http.send(self._request(method, params, headers), stream=True)
        try:
            assert response.status_code == 200
            yield _frames(response, self._wire, RestReply.unwrap)
        finally:
            await response.aclose()


async def _frames(
    response: httpx.Response, wire: Wire, unwrap: Callable[[Json], Json]
) -> AsyncIterator[Event]:
    lines: list[str] = []
    async for line in response.aiter_lines():
        if line:
            lines.append(line)
            continue
        frame = "\n".join(lines)
        lines.clear()
        if not frame.startswith(":"):
            yield read_frame(frame, wire, unwrap)
