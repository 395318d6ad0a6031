"""What every call goes through: who asks and how, the operation, and the status that ends it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING
from urllib.parse import unquote

import grpc

from agent.auth.base import Presented
from agent.errors import InvalidRequest, PayloadTooLarge, StreamEnded, VersionNotSupported
from agent.grpc_binding.messages import Binary, read, write
from agent.grpc_binding.status import DETAILS, failure
from agent.rpc_body import largest
from agent.service_parameters import read_service_parameters

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from agent.auth.gate import Gate
    from agent.following import Numbered
    from agent.grpc_binding.rpcs import Protocol, Rpc
    from agent.operations import Asked, Operations
    from agent.settings import Settings

    type Context = grpc.aio.ServicerContext[bytes, bytes]

STALLED_SECONDS = 60.0
"""Who reads nothing for so long has gone: all events are kept for as long as somebody is to read them."""

LAST_EVENT_ID = "last-event-id"


class Calls:
    """Answers the calls of one version's service; requests and answers are bytes.

    That leaves messages that cannot be read to us: grpc itself says INTERNAL for those.
    """

    def __init__(
        self,
        protocol: Protocol,
        operations: Operations,
        gate: Gate,
        settings: Settings,
    ) -> None:
        """``operations`` is the table that all bindings share."""
        self._protocol = protocol
        self._operations = operations
        self._gate = gate
        self._strict = settings.a2a.strict_version
        self._idle = settings.limits.stream_idle_seconds
        self._limits = settings.limits
        self._is_older = protocol.version == "0.3"

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return the methods, as a server takes them."""
        return grpc.method_handlers_generic_handler(
            self._protocol.service, {rpc.name: self._handler(rpc) for rpc in self._protocol.rpcs}
        )

    def _handler(self, rpc: Rpc) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Take requests as streams of one message, which look the same on the wire.

        So who calls is asked before anything large is read, and not waited for without end.
        """
        if rpc.operation in self._operations.streaming:
            return grpc.stream_stream_rpc_method_handler(self._streaming(rpc))
        return grpc.stream_unary_rpc_method_handler(self._unary(rpc))

    def _unary(self, rpc: Rpc) -> Callable[[object, Context], Awaitable[bytes]]:
        run = self._operations.unary[rpc.operation]

        async def method(_messages: object, context: Context) -> bytes:
            try:
                asked = await self._asked(context)
                params = self._read(rpc, await self._message(context))
                return write(rpc.response, await run(rpc.dialect, asked, params))
            except Exception as exc:  # noqa: BLE001 - the outermost handler of a call
                error = exc
            return await self._fail(context, error)

        return method

    def _streaming(self, rpc: Rpc) -> Callable[[object, Context], Awaitable[None]]:
        run = self._operations.streaming[rpc.operation]

        async def method(_messages: object, context: Context) -> None:
            try:
                asked = await self._asked(context)
                params = self._read(rpc, await self._message(context))
                followed, encoder = await run(rpc.dialect, asked, params)
                binary = Binary(encoder, rpc.response)
                return await write_all(context, followed.follow(binary, self._idle))
            except Exception as exc:  # noqa: BLE001 - the outermost handler of a call
                error = exc
            return await self._fail(context, error)

        return method

    async def _asked(self, context: Context) -> Asked:
        """Read the metadata, and answer with the extensions in use; raises ``AgentError``."""
        headers = _headers(context)
        shown = Presented(headers, address=_address(context), surface="grpc")
        caller = await self._gate.caller(shown)
        parameters = read_service_parameters(headers)
        parameters.check_version()
        self._check_strictly(parameters.version)
        asked = self._operations.asked(caller, parameters)
        if asked.extensions:
            name = "x-a2a-extensions" if self._is_older else "a2a-extensions"
            await context.send_initial_metadata(((name, ", ".join(asked.extensions)),))
        return asked

    async def _message(self, context: Context) -> bytes:
        """Read the request. Raises ``InvalidRequest`` when there is none, or none in time."""
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                message: object = await context.read()
        except TimeoutError as exc:
            raise InvalidRequest("The request did not arrive in time") from exc
        if not isinstance(message, bytes):
            raise InvalidRequest("The request has no message")
        return message

    def _read(self, rpc: Rpc, message: bytes) -> bytes:
        """Return the request as JSON; raises ``PayloadTooLarge`` as well.

        grpc has one bound for all methods, so what is too large for this one has been received.
        """
        most = largest(rpc.operation, self._limits.body_bytes)
        if len(message) > most:
            raise PayloadTooLarge(f"The request is larger than {most} bytes")
        return read(rpc.request, message, self._limits.body_values)

    def _check_strictly(self, version: str) -> None:
        # None named is 0.3 (1.0 section 3.6.2).
        if self._strict and not (version or "0.3").strip().startswith(self._protocol.version):
            raise VersionNotSupported(
                f"{self._protocol.service} is of A2A {self._protocol.version}, "
                "which is not the version of this request"
            )

    async def _fail[T](self, context: Context, error: Exception) -> T:
        failed = failure(error, named=self._is_older)
        trailing = (*(context.trailing_metadata() or ()), (DETAILS, failed.details))
        if challenge := getattr(error, "challenge", ""):
            trailing = (*trailing, ("www-authenticate", challenge))
        return await context.abort(failed.code, failed.message, trailing)


def _headers(context: Context) -> Mapping[str, str]:
    """Return the metadata as HTTP headers; what is given several times becomes a list."""
    headers: dict[str, str] = {}
    for name, value in context.invocation_metadata() or ():
        if isinstance(value, str):
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _address(context: Context) -> str:
    """Return the peer's address: gRPC says ``ipv4:127.0.0.1:50051`` and ``ipv6:%5B::1%5D:50051``."""
    family, _, rest = context.peer().partition(":")
    if family not in {"ipv4", "ipv6"}:
        return ""
    return unquote(rest.rpartition(":")[0]).strip("[]")


async def write_all(
    context: Context, news: AsyncGenerator[list[Numbered[bytes]]], patience: float = STALLED_SECONDS
) -> None:
    """Write the events; the number of the last one goes into the trailing metadata.

    HTTP/2 has pings of its own, so silence ends the stream as soon as it is told of. Raises
    ``StreamEnded`` then, and when the caller reads nothing for ``patience`` seconds.
    """
    async with aclosing(news):
        async for events in news:
            if not events:
                raise StreamEnded
            for seq, event in events:
                if seq is not None:
                    # Before the event: also one that waits to be read comes before the trailing metadata.
                    context.set_trailing_metadata(((LAST_EVENT_ID, str(seq)),))
                try:
                    async with asyncio.timeout(patience):
                        await context.write(event)
                except TimeoutError as exc:
                    raise StreamEnded from exc
