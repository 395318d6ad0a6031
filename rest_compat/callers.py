"""Who calls a route, and whether they may: decided before anything of the request's body is read."""

# Without ``annotations`` from the future: FastAPI reads those of its dependencies.
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, override

import msgspec
from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from fastapi.params import Depends
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive

from agent.auth.access import check
from agent.auth.gate import Gate
from agent.caller import Caller
from agent.rpc_body import SMALL_BYTES, check_values, read_body
from agent.service_parameters import headers_of, presented
from agent.settings.access import Action
from agent.settings.own import Limits
from rest_compat.problems import InvalidFields

VALUES = 10_000
"""Most values of a body, with the names of members: no request has use for more."""

# Half of a surrogate pair, or of one that is whole: then the body is read once more.
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")

type Handler = Callable[[Request], Awaitable[Response]]


class Bounds(NamedTuple):
    """How much a body may hold: bytes, and values with the names of members."""

    size: int
    values: int


class Known:
    """A dependency of a route: the caller, who has been let in by the time that it is asked.

    On a route of any other kind than ``Guarded`` nobody has been, and asking fails.
    """

    def __init__(self, needed: frozenset[str] | None = None) -> None:
        """``needed`` are actions of which the caller must have one."""
        self.needed = needed

    async def __call__(self, request: Request) -> Caller:
        """Return the caller."""
        caller: Caller = request.state.caller
        return caller


class Callers:
    """Makes routers, and what their routes demand of callers."""

    def __init__(self, gate: Gate, limits: Limits) -> None:
        """Keep the way in, which A2A has too, and how much a body may hold."""
        self._gate = gate
        self._limits = limits

    def router(
        self,
        tag: str,
        dependencies: Sequence[Depends] = (),
        *,
        takes_texts: bool = False,
        takes_rows: bool = False,
    ) -> APIRouter:
        """Return a router of routes that let callers in first.

        Those that take texts read large bodies, and those that take rows read large bodies of many values.
        """
        limits = self._limits
        largest = limits.body_bytes if takes_texts or takes_rows else SMALL_BYTES
        values = limits.body_values if takes_rows else VALUES
        bounds = Bounds(min(largest, limits.body_bytes), min(values, limits.body_values))
        callers = self

        class Guarded(APIRoute):
            @override
            def get_route_handler(self) -> Callable[[Request], Any]:
                handle = super().get_route_handler()
                calls = [each.call for each in self.dependant.dependencies]
                demands = [call for call in calls if isinstance(call, Known)]

                async def guarded(request: Request) -> Response:
                    return await callers.serve(request, demands, handle, bounds)

                return guarded

        return APIRouter(tags=[tag], dependencies=list(dependencies), route_class=Guarded)

    def may(self, action: Action) -> Known:
        """Return a dependency: the caller, who must be allowed LCS's ``action``."""
        return Known(frozenset({action}))

    def known(self) -> Known:
        """Return a dependency: the caller, whatever they may do."""
        return Known()

    async def serve(
        self, request: Request, demands: Sequence[Known], handle: Handler, bounds: Bounds
    ) -> Response:
        """Let the caller in if that is demanded, read the body, and handle the request.

        The audit log tells of the route, with the ids in its path, and how it ended.
        """
        if not demands:
            return await self._handled(request, handle, bounds)
        headers = headers_of(request.scope)
        known = await self._gate.caller(presented(request.scope, headers))
        route = f"{request.method} {request.scope['route'].path}"
        with self._gate.recording(known, route) as recorded:
            for name, value in request.path_params.items():
                recorded.note(name, str(value))
            for demand in demands:
                if demand.needed is not None:
                    check(recorded, demand.needed)
            request.state.caller = recorded
            return await self._handled(request, handle, bounds)

    async def _handled(self, request: Request, handle: Handler, bounds: Bounds) -> Response:
        announced = request.headers.get("content-length")
        body = await read_body(request.receive, bounds.size, announced)
        is_read = getattr(request.scope["route"], "body_field", None) is not None
        if is_read:
            _check_encoding(body)
        check_values(body, bounds.values)
        if is_read:
            _check_text(body)
        try:
            return await handle(Request(request.scope, _again(body, request.receive)))
        except RequestValidationError as exc:
            raise InvalidFields(exc) from exc
        except HTTPException as exc:
            if exc.status_code != 400:
                raise
            # FastAPI's, of a body that is not even text.
            raise _no_json() from exc


def _check_encoding(body: bytes) -> None:
    """Raise what FastAPI does of a body that is no JSON: Python reads UTF-16 and UTF-32 as well.

    It tells them by their zeros, of which JSON in UTF-8 has none.
    """
    try:
        body.decode()
    except UnicodeDecodeError as exc:
        raise _no_json() from exc
    if b"\0" in body:
        raise _no_json()


def _check_text(body: bytes) -> None:
    """Raise what FastAPI does of a body that is no JSON: it takes half a surrogate pair for text."""
    if _HALF.search(body) is None:
        return
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise _no_json() from exc


def _no_json() -> InvalidFields:
    """Return what FastAPI says of a body that is text, and no JSON."""
    problem = {"loc": ("body",), "msg": "JSON decode error", "type": "json_invalid"}
    return InvalidFields(RequestValidationError([problem]))


def _again(body: bytes, receive: Receive) -> Receive:
    """Return what hands the body out that has been read, and then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again
