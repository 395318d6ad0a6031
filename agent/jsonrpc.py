"""The JSON-RPC endpoint: single calls from one table, batches of them, streams as SSE.

Both versions of A2A are answered on one URL: the name of the method picks the dialect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from agent.dialects.v0_3 import Dialect03
from agent.dialects.v1_0 import Dialect1
from agent.errors import (
    AgentError,
    InvalidRequest,
    MethodNotFound,
    VersionNotSupported,
    WrongContentType,
)
from agent.rpc_answer import (
    RpcError,
    answer,
    answer_nothing,
    describe,
    failure,
    result_head,
    unexpected,
    written,
)
from agent.rpc_batch import Batches
from agent.rpc_body import BadCall, Call, Disconnected, is_json, read_body, read_calls
from agent.service_parameters import headers_of, presented, read_service_parameters, version_of
from agent.sse import stream_events

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Message, Receive, Scope, Send

    from agent.auth.gate import Gate
    from agent.dialects import Dialect, Encoder
    from agent.following import Followed
    from agent.operations import Asked, Operations, Unary
    from agent.settings import Settings

LATEST: Dialect = Dialect1()
OLDER: Dialect = Dialect03()


class JsonRpc:
    """``POST /a2a`` and ``POST /``, as an ASGI application."""

    def __init__(self, operations: Operations, gate: Gate, settings: Settings) -> None:
        """Build the one table of methods."""
        self._operations = operations
        self._gate = gate
        self._body_bytes = settings.limits.body_bytes
        self._body_values = settings.limits.body_values
        self._keep_alive = settings.a2a.keep_alive_seconds
        self._idle = settings.limits.stream_idle_seconds
        self._strict = settings.a2a.strict_version
        self._dialects = {
            method: (dialect, operation)
            for dialect in (LATEST, OLDER)
            for method, operation in dialect.methods.items()
        }
        self._unary = {
            method: _method(dialect, operations.unary[operation])
            for method, (dialect, operation) in self._dialects.items()
            if operation in operations.unary
        }
        self._batches = Batches(self._unary, self._dialects, settings.limits.answer_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        headers = headers_of(scope)
        dialect = of_version(version_of(headers, scope["query_string"]))
        try:
            caller = await self._gate.caller(presented(scope, headers, "jsonrpc"))
            body = await read_body(receive, self._body_bytes, headers.get("content-length"))
            if not is_json(headers.get("content-type", "")):
                raise WrongContentType
            calls = read_calls(body, self._body_values)
        except Disconnected:
            return None
        except AgentError as exc:
            error = describe(exc, dialect)
            return await answer(send, failure(None, error), error)
        try:
            parameters = read_service_parameters(headers, scope["query_string"])
            asked = self._operations.asked(caller, parameters)
        except AgentError as exc:
            return await self._refuse(calls, exc, dialect, send)
        return await self._answer(asked, calls, receive, send)

    async def _answer(
        self,
        asked: Asked,
        calls: Call | BadCall | list[Call | BadCall],
        receive: Receive,
        send: Send,
    ) -> None:
        if asked.extensions:
            send = echoing(send, asked.extensions)
        if isinstance(calls, list):
            return await self._batch(asked, calls, send)
        if isinstance(calls, Call) and self._operation(calls) in self._operations.streaming:
            return await self._stream(asked, calls, receive, send)
        return await self._single(asked, calls, send)

    def _operation(self, call: Call) -> str | None:
        known = self._dialects.get(call.method)
        return known[1] if known else None

    async def _refuse(
        self,
        calls: Call | BadCall | list[Call | BadCall],
        exc: AgentError,
        dialect: Dialect,
        send: Send,
    ) -> None:
        """Answer all calls, each in its dialect, with an error that is the request's."""
        batch = calls if isinstance(calls, list) else [calls]
        errors = [describe(exc, self._dialect(call, dialect)) for call in batch]
        bodies = [
            failure(call.id, error)
            for call, error in zip(batch, errors, strict=True)
            if call.id is not UNSET
        ]
        if not bodies:
            await answer_nothing(send)
        elif isinstance(calls, list):
            await answer(send, b"[%b]" % b",".join(bodies))
        else:
            await answer(send, bodies[0], errors[0])

    async def _single(self, asked: Asked, call: Call | BadCall, send: Send) -> None:
        """Answer one call straight from the table: jsonrpcserver would cost as much as all the rest."""
        said: bytes | RpcError | None = self._refusal(asked, call)
        if said is None and isinstance(call, Call):
            said = await self._unary[call.method](asked, call.params)
        if call.id is UNSET:
            await answer_nothing(send)
        else:
            await answer(send, written(call.id, said), said if isinstance(said, RpcError) else None)

    async def _batch(self, asked: Asked, calls: list[Call | BadCall], send: Send) -> None:
        bodies = []
        good = []
        for call in calls:
            refused = self._refusal(asked, call)
            if refused is None and isinstance(call, Call):
                good.append(call)
            elif call.id is not UNSET:
                bodies.append(written(call.id, refused))
        if good:
            bodies += await self._batches.run(asked, good)
        if bodies:
            await answer(send, b"[%b]" % b",".join(bodies))
        else:
            await answer_nothing(send)

    def _refusal(self, asked: Asked, call: Call | BadCall) -> RpcError | None:
        try:
            self._check(asked, call)
        except AgentError as exc:
            return describe(exc, self._dialect(call, of_version(asked.parameters.version)))
        return None

    def _check(self, asked: Asked, call: Call | BadCall) -> None:
        """Refuse what no method can answer."""
        asked.parameters.check_version()
        if isinstance(call, BadCall):
            raise InvalidRequest(call.problem)
        operation = self._operation(call)
        if operation is None:
            raise MethodNotFound
        if operation in self._operations.streaming:
            raise InvalidRequest("A streaming method cannot be part of a batch")
        self._check_strictly(asked, call)

    def _check_strictly(self, asked: Asked, call: Call) -> None:
        version = of_version(asked.parameters.version)
        if self._strict and version is not self._dialects[call.method][0]:
            raise VersionNotSupported(
                f"{call.method} is not a method of A2A {version.version}, "
                "which is the version of this request"
            )

    def _dialect(self, call: Call | BadCall, otherwise: Dialect) -> Dialect:
        known = self._dialects.get(call.method) if isinstance(call, Call) else None
        return known[0] if known else otherwise

    async def _stream(self, asked: Asked, call: Call, receive: Receive, send: Send) -> None:
        dialect = self._dialects[call.method][0]
        started = await self._started(asked, call, dialect)
        call_id = call.id
        if call_id is UNSET:
            return await answer_nothing(send)
        if isinstance(started, RpcError):
            return await answer(send, failure(call_id, started), started)
        followed, encoder = started
        return await stream_events(
            followed.follow(encoder, self._keep_alive),
            wrapping=(result_head(call_id), b"}"),
            failed=lambda exc: failure(call_id, describe(exc, dialect)),
            idle=self._idle,
            receive=receive,
            send=send,
        )

    async def _started(
        self, asked: Asked, call: Call, dialect: Dialect
    ) -> tuple[Followed, Encoder[bytes]] | RpcError:
        """Run a streaming method; returns when there is something to stream."""
        try:
            asked.parameters.check_version()
            self._check_strictly(asked, call)
            operation = self._operations.streaming[self._dialects[call.method][1]]
            return await operation(dialect, asked, call.params)
        except AgentError as exc:
            return describe(exc, dialect)
        except Exception as exc:  # noqa: BLE001 - the outermost handler of a call
            return unexpected(exc, dialect)


def _method(
    dialect: Dialect, operation: Unary
) -> Callable[[Asked, bytes], Awaitable[bytes | RpcError]]:
    async def method(asked: Asked, params: bytes) -> bytes | RpcError:
        try:
            return await operation(dialect, asked, params)
        except AgentError as exc:
            return describe(exc, dialect)
        except Exception as exc:  # noqa: BLE001 - the outermost handler of a call
            return unexpected(exc, dialect)

    return method


def of_version(version: str) -> Dialect:
    """Return the dialect of a version; none named is 0.3 (1.0 section 3.6.2)."""
    return LATEST if version.startswith("1") else OLDER


def echoing(send: Send, extensions: tuple[str, ...]) -> Send:
    """Return ``send`` with the extensions that are in use in the response's headers (1.0 section 4.6)."""
    value = ", ".join(extensions).encode("latin-1", "replace")
    added = [(b"a2a-extensions", value), (b"x-a2a-extensions", value)]

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *added]}
        await send(message)

    return sending
