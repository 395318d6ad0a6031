"""The JSON-RPC endpoint: single calls from one table, batches of them through jsonrpcserver, streams as SSE.

Both versions of A2A are answered on one URL: the name of the method picks the dialect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from jsonrpcserver import Result, Success, async_dispatch_to_serializable
from msgspec import UNSET
from starlette.datastructures import QueryParams

from agent.dialects import Trimmed
from agent.dialects.v0_3 import Dialect03
from agent.dialects.v1_0 import Dialect1
from agent.errors import (
    AgentError,
    InvalidRequest,
    MethodNotFound,
    VersionNotSupported,
)
from agent.rpc_answer import (
    RpcError,
    answer,
    answer_nothing,
    describe,
    failure,
    result_head,
    success,
    unexpected,
    wrong_content_type,
)
from agent.rpc_body import BadCall, Call, Disconnected, is_json, read_body, read_calls
from agent.sse import stream_events

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Receive, Scope, Send

    from agent.auth.base import Authenticator
    from agent.dialects import Dialect, Encoder
    from agent.model import Caller
    from agent.rpc_body import CallId
    from agent.run import Run
    from agent.service import Service
    from agent.settings import Settings

LATEST: Dialect = Dialect1()
OLDER: Dialect = Dialect03()
STREAM = "stream"
_SPOKEN = frozenset({"", LATEST.version, OLDER.version})


class Asked(msgspec.Struct, frozen=True):
    """Who asks, and the A2A version that the request names ("" when it names none)."""

    caller: Caller
    version: str

    @property
    def dialect(self) -> Dialect:
        """How errors are said that belong to no method."""
        return _of_version(self.version)


class JsonRpc:
    """``POST /a2a`` and ``POST /``, as an ASGI application."""

    def __init__(self, service: Service, authenticator: Authenticator, settings: Settings) -> None:
        """Build the one table of methods."""
        self._service = service
        self._authenticator = authenticator
        self._body_bytes = settings.limits.body_bytes
        self._keep_alive = settings.a2a.keep_alive_seconds
        self._strict = settings.a2a.strict_version
        self._dialects = {
            method: (dialect, operation)
            for dialect in (LATEST, OLDER)
            for method, operation in dialect.methods.items()
        }
        self._refused = {
            method: (dialect, error)
            for dialect in (LATEST, OLDER)
            for method, error in dialect.refused.items()
        }
        self._unary = {
            method: self._method(dialect, operation)
            for method, (dialect, operation) in self._dialects.items()
            if operation != STREAM
        }
        self._methods = {name: _for_jsonrpcserver(method) for name, method in self._unary.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        version = headers.get("a2a-version") or _version_in_query(scope["query_string"])
        dialect = _of_version(version)
        try:
            asked = Asked(await self._authenticator.caller(headers), version)
            body = await read_body(receive, self._body_bytes, headers.get("content-length"))
            if not is_json(headers.get("content-type", "")):
                error = wrong_content_type(dialect)
                return await answer(send, failure(None, error), error)
            calls = read_calls(body)
        except Disconnected:
            return None
        except AgentError as exc:
            error = describe(exc, dialect)
            return await answer(send, failure(None, error), error)
        if isinstance(calls, list):
            return await self._batch(asked, calls, send)
        if isinstance(calls, Call) and self._operation(calls) == STREAM:
            return await self._stream(asked, calls, receive, send)
        return await self._single(asked, calls, send)

    def _operation(self, call: Call) -> str | None:
        known = self._dialects.get(call.method)
        return known[1] if known else None

    async def _single(self, asked: Asked, call: Call | BadCall, send: Send) -> None:
        """Answer one call straight from the table: jsonrpcserver would cost as much as all the rest."""
        said: bytes | RpcError | None = self._refusal(asked, call)
        if said is None and isinstance(call, Call):
            said = await self._unary[call.method](asked, call.params)
        if call.id is UNSET:
            await answer_nothing(send)
        else:
            await answer(
                send, _written(call.id, said), said if isinstance(said, RpcError) else None
            )

    async def _batch(self, asked: Asked, calls: list[Call | BadCall], send: Send) -> None:
        """Answer the calls of a batch at once, through jsonrpcserver."""
        bodies = []
        good: list[dict[str, Any]] = []
        for call in calls:
            refused = self._refusal(asked, call)
            if refused is None and isinstance(call, Call):
                good.append(_request(call))
            elif call.id is not UNSET:
                bodies.append(_written(call.id, refused))
        if good:
            answers: Any = await async_dispatch_to_serializable(
                "",
                self._methods,
                context=asked,
                deserializer=lambda _: good,
                validator=_valid_already,
            )
            bodies += [_written(one["id"], one["result"]) for one in answers or ()]
        if bodies:
            await answer(send, b"[" + b",".join(bodies) + b"]")
        else:
            await answer_nothing(send)

    def _refusal(self, asked: Asked, call: Call | BadCall) -> RpcError | None:
        try:
            self._check(asked, call)
        except AgentError as exc:
            return describe(exc, self._dialect(asked, call))
        return None

    def _check(self, asked: Asked, call: Call | BadCall) -> None:
        """Refuse what no method can answer."""
        if asked.version not in _SPOKEN:
            _check_version(asked.version)
        if isinstance(call, BadCall):
            raise InvalidRequest(call.problem)
        operation = self._operation(call)
        if operation is None:
            _, error = self._refused.get(call.method, (None, MethodNotFound))
            raise error
        if operation == STREAM:
            raise InvalidRequest("A streaming method cannot be part of a batch")
        self._check_strictly(asked, call)

    def _check_strictly(self, asked: Asked, call: Call) -> None:
        if self._strict and asked.dialect is not self._dialects[call.method][0]:
            raise VersionNotSupported(
                f"{call.method} is not a method of A2A {asked.dialect.version}, "
                "which is the version of this request"
            )

    def _dialect(self, asked: Asked, call: Call | BadCall) -> Dialect:
        name = call.method if isinstance(call, Call) else ""
        known = self._dialects.get(name) or self._refused.get(name)
        return known[0] if known else asked.dialect

    def _method(
        self, dialect: Dialect, operation: str
    ) -> Callable[[Asked, bytes], Awaitable[bytes | RpcError]]:
        run = {"send": self._send, "get": self._get}[operation]

        async def method(asked: Asked, params: bytes) -> bytes | RpcError:
            try:
                return await run(dialect, asked.caller, params)
            except AgentError as exc:
                return describe(exc, dialect)
            except Exception as exc:  # noqa: BLE001 - the outermost handler of a call
                return unexpected(exc, dialect)

        return method

    async def _send(self, dialect: Dialect, caller: Caller, params: bytes) -> bytes:
        return dialect.event(await self._service.send(caller, dialect.read_send(params)))

    async def _get(self, dialect: Dialect, caller: Caller, params: bytes) -> bytes:
        return dialect.task(await self._service.get(caller, dialect.read_get(params)))

    async def _stream(self, asked: Asked, call: Call, receive: Receive, send: Send) -> None:
        dialect = self._dialects[call.method][0]
        started = await self._started(asked, call, dialect)
        call_id = call.id
        if call_id is UNSET:
            return await answer_nothing(send)
        if isinstance(started, RpcError):
            return await answer(send, failure(call_id, started), started)
        run, encoder = started
        return await stream_events(
            run,
            encoder,
            head=result_head(call_id),
            failed=lambda exc: failure(call_id, describe(exc, dialect)),
            keep_alive=self._keep_alive,
            receive=receive,
            send=send,
        )

    async def _started(
        self, asked: Asked, call: Call, dialect: Dialect
    ) -> tuple[Run, Encoder] | RpcError:
        """Run the message of a streaming method; returns when there is something to stream."""
        try:
            _check_version(asked.version)
            self._check_strictly(asked, call)
            request = dialect.read_send(call.params)
            run = await self._service.stream(asked.caller, request)
            if call.id is not UNSET:
                await run.feed.opened()
        except AgentError as exc:
            return describe(exc, dialect)
        except Exception as exc:  # noqa: BLE001 - the outermost handler of a call
            return unexpected(exc, dialect)
        if request.history_length is None:
            return run, dialect
        return run, Trimmed(dialect, request.history_length)


def _for_jsonrpcserver(
    method: Callable[[Asked, bytes], Awaitable[bytes | RpcError]],
) -> Callable[[Asked, bytes], Awaitable[Result]]:
    """Wrap a method; errors travel as results too, since jsonrpcserver would add to them."""

    async def wrapped(asked: Asked, params: bytes) -> Result:
        return Success(await method(asked, params))

    return wrapped


def _request(call: Call) -> dict[str, Any]:
    request: dict[str, Any] = {"method": call.method, "params": {"params": call.params}}
    return request if call.id is UNSET else {**request, "id": call.id}


def _written(call_id: CallId, said: bytes | RpcError | None) -> bytes:
    if isinstance(said, RpcError):
        return failure(call_id, said)
    return success(call_id, said or b"null")


def _valid_already(request: Any) -> Any:
    """``rpc_body`` checked the envelope: jsonrpcserver's schema would cost more than the call."""
    return request


def _check_version(version: str) -> None:
    if version and ".".join(version.strip().split(".")[:2]) not in {LATEST.version, OLDER.version}:
        raise VersionNotSupported(
            f"This agent speaks A2A {LATEST.version} and {OLDER.version} on this URL"
        )


def _of_version(version: str) -> Dialect:
    """The dialect of a version; none named is 0.3 (1.0 section 3.6.2)."""
    return LATEST if version.startswith("1") else OLDER


def _version_in_query(query: bytes) -> str:
    # The names of service parameters are case-insensitive (1.0 section 3.2.6).
    given = {name.lower(): value for name, value in QueryParams(query).items()} if query else {}
    return given.get("a2a-version", "")
