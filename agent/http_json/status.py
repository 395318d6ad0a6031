"""Errors as HTTP+JSON says them: ``google.rpc.Status`` (1.0 sections 5.4 and 11.6)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from agent import errors
from agent.dialects.errors import INTERNAL_ERROR, error_code, error_reason
from agent.trail import current_request_id

if TYPE_CHECKING:
    from agent.model import Json

logger = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode
_TYPE = "type.googleapis.com/google.rpc."

_INVALID = (400, "INVALID_ARGUMENT")
_REFUSED = (400, "FAILED_PRECONDITION")
_INTERNAL = (500, "INTERNAL")
_UNAVAILABLE = 503
RETRY_SECONDS = 5
"""When to try again where nothing tells how long something stays away."""

# HTTP status and google.rpc.Code. The specification has no word on those of our own.
STATUS: dict[type[errors.AgentError], tuple[int, str]] = {
    errors.ParseError: _INVALID,
    errors.InvalidRequest: _INVALID,
    errors.MethodNotFound: (404, "NOT_FOUND"),
    errors.InvalidParams: _INVALID,
    errors.TaskNotFound: (404, "NOT_FOUND"),
    errors.TaskNotCancelable: _REFUSED,
    errors.PushNotificationNotSupported: _REFUSED,
    errors.UnsupportedOperation: _REFUSED,
    errors.TaskTaken: _REFUSED,
    errors.ContentTypeNotSupported: _INVALID,
    errors.WrongContentType: (415, "INVALID_ARGUMENT"),
    errors.InvalidAgentResponse: _INTERNAL,
    errors.ExtendedCardNotConfigured: _REFUSED,
    errors.ExtensionSupportRequired: _REFUSED,
    errors.VersionNotSupported: _REFUSED,
    errors.PayloadTooLarge: (413, "RESOURCE_EXHAUSTED"),
    errors.TooManyTasks: (429, "RESOURCE_EXHAUSTED"),
    errors.StateUnavailable: (_UNAVAILABLE, "UNAVAILABLE"),
    errors.ServerStopping: (_UNAVAILABLE, "UNAVAILABLE"),
    errors.StreamEnded: (409, "ABORTED"),
    errors.KeyReused: (409, "ALREADY_EXISTS"),
    errors.Unauthenticated: (401, "UNAUTHENTICATED"),
    errors.MalformedCredentials: _INVALID,
    errors.PermissionDenied: (403, "PERMISSION_DENIED"),
    errors.QuotaExceeded: (429, "RESOURCE_EXHAUSTED"),
    errors.TooManyAttempts: (429, "RESOURCE_EXHAUSTED"),
    errors.TooManyStreams: (429, "RESOURCE_EXHAUSTED"),
    errors.IdentityUnavailable: (_UNAVAILABLE, "UNAVAILABLE"),
    errors.ResourceNotFound: (404, "NOT_FOUND"),
}
# Where the name of an error does not follow from its reason.
_NAMES = {
    "PARSE_ERROR": "JSONParseError",
    "INTERNAL_ERROR": "InternalError",
    "EXTENDED_AGENT_CARD_NOT_CONFIGURED": "AuthenticatedExtendedCardNotConfiguredError",
}


class Problem(msgspec.Struct, frozen=True):
    """An error: the HTTP status, and ``google.rpc.Status``; ``retry_after`` is in seconds."""

    code: int
    status: str
    reason: str
    message: str
    more: tuple[Json, ...] = ()
    retry_after: int | None = None
    allow: str = ""
    challenge: str = ""

    def written(self, *, named: bool) -> bytes:
        """Return the body; ``named`` adds what the SDKs of 0.3 look for."""
        info = {"@type": f"{_TYPE}ErrorInfo", "reason": self.reason, "domain": "a2a-protocol.org"}
        error = {
            "code": self.code,
            "status": self.status,
            "message": self.message,
            "details": [info, *self.more],
        }
        body: dict[str, Json] = {"error": error}
        if named:
            body |= {"type": _name(self.reason), "message": self.message}
        return _encode(body)


def describe(error: errors.AgentError) -> Problem:
    """Translate an error outward."""
    if error_code(error) == INTERNAL_ERROR:
        return unexpected(error)
    code, status = errors.by_kind(STATUS, error) or _INTERNAL
    retry_after: int | None = getattr(error, "retry_after", None)
    if retry_after is None and code == _UNAVAILABLE:
        retry_after = RETRY_SECONDS
    more: list[Json] = []
    if isinstance(error, errors.InvalidParams):
        violation = {"field": error.field, "description": error.problem}
        more.append({"@type": f"{_TYPE}BadRequest", "fieldViolations": [violation]})
    if retry_after is not None:
        more.append({"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{retry_after}s"})
    return Problem(
        code,
        status,
        error_reason(error),
        error.message,
        tuple(more),
        retry_after,
        challenge=getattr(error, "challenge", ""),
    )


def unexpected(error: BaseException) -> Problem:
    """Log an error that is not the caller's; the caller gets the id it is logged under."""
    request_id = current_request_id()
    logger.error("Internal error %s", request_id, exc_info=error)
    info = {"@type": f"{_TYPE}RequestInfo", "requestId": request_id}
    return Problem(*_INTERNAL, "INTERNAL_ERROR", "Internal error", (info,))


def wrong_method(allow: str) -> Problem:
    """Refuse an HTTP method that the path does not have."""
    message = f"This path has the methods {allow}"
    return Problem(405, "UNIMPLEMENTED", "METHOD_NOT_ALLOWED", message, allow=allow)


def _name(reason: str) -> str:
    """Return what 0.3 calls an error: ``TASK_NOT_FOUND`` is TaskNotFoundError."""
    words = "".join(word.capitalize() for word in reason.split("_"))
    return _NAMES.get(reason, f"{words}Error")
