"""JSON-RPC answers as bytes, and errors as JSON-RPC says them: the one boundary between both.

What a module or library says about an exception never reaches a caller; an id to ask about does.
"""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING

import msgspec

from agent.dialects.errors import INTERNAL_ERROR, error_code
from agent.errors import (
    AgentError,
    KeyReused,
    PayloadTooLarge,
    ServerStopping,
    StateUnavailable,
    TooManyTasks,
    WrongContentType,
)

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


def describe(error: AgentError, dialect: Dialect) -> RpcError:
    """Translate an error outward."""
    code = error_code(error)
    if code == INTERNAL_ERROR:
        return unexpected(error, dialect)
    return RpcError(
        code,
        error.message,
        dialect.error_data(error),
        _STATUS.get(type(error), 200),
        getattr(error, "retry_after", None),
    )


def unexpected(error: BaseException, dialect: Dialect) -> RpcError:
    """Log an error that is not the caller's; the caller gets the id it is logged under."""
    request_id = secrets.token_hex(8)
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


async def answer(send: Send, body: bytes, error: RpcError | None = None) -> None:
    """Send a whole HTTP response."""
    headers = [_JSON, (b"content-length", b"%d" % len(body))]
    if error is not None and error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    status = 200 if error is None else error.status
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def answer_nothing(send: Send) -> None:
    """Send the HTTP response to notifications, which are not answered."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})
