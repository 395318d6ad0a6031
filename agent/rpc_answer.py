"""JSON-RPC answers as bytes, and errors as JSON-RPC says them: the one boundary between both.

What a module or library says about an exception never reaches a caller; an id to ask about does.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from agent.dialects.errors import INTERNAL_ERROR, error_code
from agent.errors import (
    AgentError,
    IdentityUnavailable,
    KeyReused,
    MalformedCredentials,
    PayloadTooLarge,
    PermissionDenied,
    QuotaExceeded,
    ServerStopping,
    StateUnavailable,
    TooManyAttempts,
    TooManyStreams,
    TooManyTasks,
    Unauthenticated,
    WrongContentType,
    by_kind,
)
from agent.trail import current_request_id

if TYPE_CHECKING:
    from starlette.types import Send

    from agent.dialects import Dialect
    from agent.model import Json
    from agent.rpc_body import CallId

logger = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode
_HEAD = b'{"jsonrpc":"2.0","id":'
# Errors that the HTTP status tells too, so that proxies and clients can act on them.
_STATUS: dict[type[AgentError], int] = {
    PayloadTooLarge: 413,
    TooManyTasks: 429,
    StateUnavailable: 503,
    ServerStopping: 503,
    KeyReused: 409,
    Unauthenticated: 401,
    MalformedCredentials: 400,
    PermissionDenied: 403,
    QuotaExceeded: 429,
    TooManyAttempts: 429,
    TooManyStreams: 429,
    IdentityUnavailable: 503,
    WrongContentType: 415,
}
_JSON = (b"content-type", b"application/json")


class RpcError(msgspec.Struct, frozen=True):
    """An error as JSON-RPC says it, and what HTTP says about it."""

    code: int
    message: str
    data: Json
    status: int = 200
    retry_after: int | None = None
    challenge: str = ""


def describe(error: AgentError, dialect: Dialect) -> RpcError:
    """Translate an error outward."""
    code = error_code(error)
    if code == INTERNAL_ERROR:
        return unexpected(error, dialect)
    return RpcError(
        code,
        error.message,
        dialect.error_data(error),
        by_kind(_STATUS, error) or 200,
        getattr(error, "retry_after", None),
        getattr(error, "challenge", ""),
    )


def unexpected(error: BaseException, dialect: Dialect) -> RpcError:
    """Log an error that is not the caller's; the caller gets the id it is logged under."""
    request_id = current_request_id()
    logger.error("Internal error %s", request_id, exc_info=error)
    return RpcError(INTERNAL_ERROR, "Internal error", dialect.request_data(request_id))


def result_head(call_id: CallId) -> bytes:
    """Return the response object up to its result; a closing brace ends it."""
    return _HEAD + _encode(call_id) + b',"result":'


def success(call_id: CallId, result: bytes) -> bytes:
    """Return a response object."""
    return result_head(call_id) + result + b"}"


def failure(call_id: CallId, error: RpcError) -> bytes:
    """Return an error response object."""
    body: dict[str, Json] = {"code": error.code, "message": error.message}
    if error.data is not None:
        body["data"] = error.data
    return _HEAD + _encode(call_id) + b',"error":' + _encode(body) + b"}"


def written(call_id: CallId, said: bytes | RpcError | None) -> bytes:
    """Return the response object for what a method said."""
    if isinstance(said, RpcError):
        return failure(call_id, said)
    return success(call_id, said or b"null")


async def answer(send: Send, body: bytes, error: RpcError | None = None) -> None:
    """Send a whole HTTP response."""
    headers = [_JSON, (b"content-length", b"%d" % len(body))]
    if error is not None and error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    if error is not None and error.challenge:
        headers.append((b"www-authenticate", error.challenge.encode("latin-1")))
    status = 200 if error is None else error.status
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def answer_nothing(send: Send) -> None:
    """Send the HTTP response to notifications, which are not answered."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})
