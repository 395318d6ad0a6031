"""The HTTP+JSON binding: a request becomes the parameters of an operation, its answer the response."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.errors import AgentError, MethodNotFound, VersionNotSupported, WrongContentType
from agent.http_json.media import media_type
from agent.http_json.params import (
    check_body,
    from_body,
    from_query,
    next_page,
    query_of,
    single,
)
from agent.http_json.paths import OLDER, Target
from agent.http_json.reply import Reply
from agent.http_json.shapes import bare_list, dialect_of
from agent.http_json.status import (
    Problem,
    describe,
    unexpected,
    wrong_method,
)
from agent.jsonrpc import LATEST, of_version
from agent.rpc_body import Disconnected, check_values, is_json, largest, read_body
from agent.service_parameters import headers_of, presented, read_service_parameters
from agent.sse import stream_events

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from agent.auth.base import Presented
    from agent.auth.gate import Gate
    from agent.dialects import Encoder
    from agent.following import Followed
    from agent.operations import Asked, Operations
    from agent.service_parameters import ServiceParameters
    from agent.settings import Settings

    # Nothing is said to whom has gone; an empty body says that all is done.
    type Said = bytes | tuple[Followed, Encoder[bytes]] | Problem | None

_BODY_OPTIONAL = frozenset({"cancel", "subscribe"})


class Request(msgspec.Struct, frozen=True):
    """An HTTP request whose path and method name an operation; the names of headers are lower-case."""

    target: Target
    operation: str
    headers: dict[str, str]
    query: bytes
    may_have_body: bool
    presented: Presented

    @property
    def needs_body(self) -> bool:
        """Whether the body holds what the operation cannot do without."""
        return self.may_have_body and self.operation not in _BODY_OPTIONAL


class HttpJson:
    """Answers the paths of this binding."""

    def __init__(
        self,
        operations: Operations,
        gate: Gate,
        settings: Settings,
    ) -> None:
        """``operations`` is the table that all bindings share."""
        self._operations = operations
        self._gate = gate
        self._body_bytes = settings.limits.body_bytes
        self._body_values = settings.limits.body_values
        self._keep_alive = settings.a2a.keep_alive_seconds
        self._idle = settings.limits.stream_idle_seconds
        self._strict = settings.a2a.strict_version

    async def answer(self, target: Target, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request for what its path names."""
        method: str = scope["method"]
        headers = headers_of(scope)
        reply = Reply(
            send,
            media_type(headers.get("accept", ""), headers.get("content-type", "")),
            named=target.version == OLDER,
            is_head=method == "HEAD",
        )
        if not target.operations:
            return await reply.problem(describe(MethodNotFound("There is nothing at this path")))
        if method not in target.methods:
            return await reply.problem(wrong_method(", ".join(target.methods)))
        if method == "OPTIONS":
            reply.headers.append((b"allow", ", ".join(target.methods).encode()))
            return await reply.nothing()
        operation = target.operations["GET" if method == "HEAD" else method]
        query, shown = scope["query_string"], presented(scope, headers, "http+json")
        request = Request(target, operation, headers, query, method == "POST", shown)
        return await self._answer(request, reply, receive)

    async def _answer(self, request: Request, reply: Reply, receive: Receive) -> None:
        said = await self._said(request, reply, receive)
        if said is None:
            return
        if isinstance(said, Problem):
            await reply.problem(said)
        elif isinstance(said, bytes):
            await (reply.json(said) if said else reply.nothing())
        else:
            followed, encoder = said
            await stream_events(
                followed.follow(encoder, self._keep_alive),
                wrapping=(b"", b""),
                # The type of an event may stand after its data; a2a-sdk raises what comes as "error".
                failed=lambda exc: describe(exc).written(named=reply.named) + b"\nevent: error",
                idle=self._idle,
                receive=receive,
                send=reply.send,
            )

    async def _said(self, request: Request, reply: Reply, receive: Receive) -> Said:
        headers = request.headers
        try:
            caller = await self._gate.caller(request.presented)
            parameters = read_service_parameters(headers, request.query)
            body = await self._body(request, receive)
            asked = self._operations.asked(caller, parameters)
            reply.echo(asked.extensions)
            self._check_version(request, parameters)
            return await self._done(request, reply, asked, body)
        except Disconnected:
            return None
        except AgentError as exc:
            return describe(exc)
        except Exception as exc:  # noqa: BLE001 - the outermost handler of a request
            return unexpected(exc)

    async def _body(self, request: Request, receive: Receive) -> bytes:
        if not request.may_have_body:
            return b""
        headers = request.headers
        most = largest(request.operation, self._body_bytes)
        body = await read_body(receive, most, headers.get("content-length"))
        if (body or request.needs_body) and not is_json(headers.get("content-type", "")):
            raise WrongContentType
        check_values(body, self._body_values)
        return body

    def _check_version(self, request: Request, parameters: ServiceParameters) -> None:
        parameters.check_version()
        spoken, named = request.target.version, of_version(parameters.version).version
        if self._strict and spoken != named:
            raise VersionNotSupported(
                f"This is a path of A2A {spoken}, and the version of this request is {named}"
            )

    async def _done(self, request: Request, reply: Reply, asked: Asked, body: bytes) -> Said:
        target, operation = request.target, request.operation
        query = query_of(request.query)
        if operation in self._operations.ours:
            params = from_query(operation, target, query)
            await self._operations.ours[operation](LATEST, asked, params)
            return b""
        check_body(body)
        dialect = dialect_of(target, operation, body, single(query, "shape"))
        if request.may_have_body:
            params = from_body(operation, target, body)
        else:
            params = from_query(operation, target, query)
        if operation in self._operations.streaming:
            return await self._operations.streaming[operation](dialect, asked, params)
        answer = await self._operations.unary[operation](dialect, asked, params)
        if operation == "list":
            answer, token = bare_list(dialect, answer)
            if token:
                reply.headers.append((b"link", next_page(request.query, token).encode()))
        return answer
