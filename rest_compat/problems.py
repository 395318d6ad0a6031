"""Errors as the REST dialects say them: the one way out of the error tree, and the last resort.

What a module or library says about an exception never reaches a caller; an id to ask about does.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from agent import errors
from agent.rpc_body import Disconnected
from agent.trail import begin_request, current_request_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    type Respond = Callable[[Problem], JSONResponse]

logger = logging.getLogger(__name__)

REQUEST_ID = "X-Request-ID"
RETRY_SECONDS = 5
"""When to try again where nothing tells how long something stays away."""

_REFUSED: dict[type[errors.AgentError], int] = {
    errors.Unauthenticated: 401,
    errors.MalformedCredentials: 400,
    errors.PermissionDenied: 403,
    errors.QuotaExceeded: 429,
    errors.TooManyAttempts: 429,
    errors.IdentityUnavailable: 503,
}
_NO_STACK = "Unable to connect to Llama Stack"
# The status, and LCS's short summary; the message of the error is the cause.
_OTHERS: dict[type[errors.AgentError], tuple[int, str]] = {
    errors.InvalidRequest: (400, "Invalid request format"),
    errors.InvalidParams: (422, "Invalid attribute value"),
    errors.ContentTypeNotSupported: (422, "Invalid attribute value"),
    errors.UnsupportedOperation: (422, "Invalid attribute value"),
    errors.ModelNotFound: (404, "Model not found"),
    errors.PromptTooLong: (413, "Prompt is too long"),
    errors.PayloadTooLarge: (413, "Request is too large"),
    errors.TooManyTasks: (429, "Too many requests"),
    errors.TooManyStreams: (429, "Too many requests"),
    errors.ServerStopping: (503, "Service unavailable"),
    errors.StateUnavailable: (503, "Service unavailable"),
    errors.TaskTaken: (503, "Service unavailable"),
    errors.StreamEnded: (503, "Service unavailable"),
    errors.StackUnavailable: (503, _NO_STACK),
    errors.StackTimeout: (503, _NO_STACK),
}


FIELDS = 100
"""Most fields that are told of as wrong: the first."""


_REASONS = {
    400: "INVALID_REQUEST",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_NOT_FOUND",
    413: "PAYLOAD_TOO_LARGE",
    422: "INVALID_PARAMS",
    429: "QUOTA_EXCEEDED",
    503: "STACK_UNAVAILABLE",
}


class Problem(msgspec.Struct, frozen=True):
    """An error: the HTTP status, what happened and why, and what belongs into the headers."""

    status: int
    response: str
    cause: str
    headers: dict[str, str] = {}


class Answered(errors.RequestError):
    """An answer of LCS that no other error stands for."""

    def __init__(self, status: int, response: str, cause: str) -> None:
        """``response`` says what happened and ``cause`` why, both for the caller."""
        self.problem = Problem(status, response, cause)
        self.reason = _REASONS.get(status, "INTERNAL_ERROR")
        """For the audit log."""
        super().__init__(f"{response}: {cause}")


class InvalidFields(errors.InvalidParams):
    """Fields of a request are missing or wrong; ``fields`` says which, as FastAPI does: the first ones."""

    def __init__(self, error: RequestValidationError) -> None:
        """Leave out what was sent, which may be secret, and what quotes it."""
        names = ("loc", "msg", "type")
        self.fields: list[dict[str, Any]] = [
            {name: one[name] for name in names} for one in error.errors()[:FIELDS]
        ]
        first = self.fields[0]
        super().__init__(".".join(str(part) for part in first["loc"]), first["msg"])


def describe(error: errors.AgentError) -> Problem:
    """Translate an error outward."""
    if isinstance(error, Answered):
        return error.problem
    if isinstance(error, errors.ResourceNotFound):
        return Problem(404, error.response, error.cause)
    if isinstance(error, errors.Refused) and (status := errors.by_kind(_REFUSED, error)):
        return Problem(status, error.response, error.cause, _headers(error, status))
    if known := errors.by_kind(_OTHERS, error):
        status, response = known
        return Problem(status, response, error.message, _headers(error, status))
    return unexpected(error)


def unexpected(error: BaseException) -> Problem:
    """Log an error that is not the caller's; the caller gets the id it is logged under."""
    request_id = current_request_id()
    logger.error("Internal error %s", request_id, exc_info=error)
    return Problem(
        500,
        "Internal server error",
        "An unexpected error occurred while processing the request.",
        {REQUEST_ID: request_id},
    )


def lightspeed_response(problem: Problem) -> JSONResponse:
    """Return the response of LCS."""
    detail = {"response": problem.response, "cause": problem.cause}
    return JSONResponse({"detail": detail}, problem.status, problem.headers)


async def refuse(_request: Request, error: Exception) -> JSONResponse:
    """Handle the errors of our tree, and of FastAPI about fields, as FastAPI wants handlers."""
    if isinstance(error, RequestValidationError):
        error = InvalidFields(error)
    if isinstance(error, InvalidFields):
        return JSONResponse({"detail": error.fields}, 422)
    assert isinstance(error, errors.AgentError)  # noqa: S101 - FastAPI calls it for nothing else
    return lightspeed_response(describe(error))


class LastResort:
    """Answers for faults of ours. A response that has begun is cut off, so that nobody takes it for whole."""

    def __init__(self, app: ASGIApp, respond: Respond | None = None) -> None:
        """``respond`` writes the answer: that of LCS, if nothing else is said."""
        self._app = app
        self._respond = respond or lightspeed_response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and answer for what comes back as an exception."""
        begun = False
        if scope["type"] == "http":
            begin_request(Headers(scope=scope).get("x-request-id"))

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Disconnected:
            # There is nobody to answer.
            return
        except Exception as exc:
            if begun or scope["type"] != "http":
                raise
            await self._respond(unexpected(exc))(scope, receive, send)


def _headers(error: errors.AgentError, status: int) -> dict[str, str]:
    headers = {}
    if challenge := getattr(error, "challenge", ""):
        headers["WWW-Authenticate"] = challenge
    retry_after = getattr(error, "retry_after", RETRY_SECONDS if status == 503 else None)
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return headers
