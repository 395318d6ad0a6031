"""The error responses of LCS, for the OpenAPI document: each is written once.

LCS's document says of each that it has a ``status_code`` beside ``detail``. None that LCS sends has.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

type Responses = dict[int | str, dict[str, Any]]


class DetailModel(BaseModel):
    """Nested detail model for error responses: a short summary, and what caused it."""

    response: str
    cause: str


class BadRequestResponse(BaseModel):
    """400 Bad Request. Invalid resource identifier."""

    detail: DetailModel


class UnauthorizedResponse(BaseModel):
    """401 Unauthorized - Missing or invalid credentials."""

    detail: DetailModel


class ForbiddenResponse(BaseModel):
    """403 Forbidden. Access denied."""

    detail: DetailModel


class NotFoundResponse(BaseModel):
    """404 Not Found - Resource does not exist."""

    detail: DetailModel


class PromptTooLongResponse(BaseModel):
    """413 Payload Too Large - Prompt is too long."""

    detail: DetailModel


class ValidationError(BaseModel):
    """A field that is missing or wrong: FastAPI's, which describes it in its own words."""

    loc: list[str | int]
    msg: str
    type: str


class UnprocessableEntityResponse(BaseModel):
    """422 Unprocessable Entity - Request validation failed: fields by FastAPI, their meaning by LCS.

    LCS's document knows the second form alone, and LCS sends the first as well.
    """

    detail: DetailModel | list[ValidationError]


class QuotaExceededResponse(BaseModel):
    """429 Too Many Requests - Quota limit exceeded."""

    detail: DetailModel


class InternalServerErrorResponse(BaseModel):
    """500 Internal Server Error."""

    detail: DetailModel


class ServiceUnavailableResponse(BaseModel):
    """503 Backend Unavailable."""

    detail: DetailModel


def _response(
    status: int, model: type[BaseModel], description: str, examples: Mapping[str, tuple[str, str]]
) -> Responses:
    shown = {
        name: {"value": {"detail": {"response": response, "cause": cause}}}
        for name, (response, cause) in examples.items()
    }
    content = {"application/json": {"examples": shown}}
    return {status: {"model": model, "description": description, "content": content}}


BAD_CONVERSATION_ID = _response(
    400,
    BadRequestResponse,
    "Invalid request format",
    {
        "conversation_id": (
            "Invalid conversation ID format",
            "The conversation ID 123e4567-e89b-12d3-a456-426614174000 has invalid format.",
        )
    },
)
_WHO = "Missing or invalid credentials provided by client"
UNAUTHORIZED = _response(
    401,
    UnauthorizedResponse,
    "Unauthorized",
    {
        "missing header": (_WHO, "No Authorization header found"),
        "missing token": (_WHO, "No token found in Authorization header"),
    },
)
_PLEASE = "Please remove the model and provider fields from your request."
_OVERRIDING = "overriding model/provider in the query request (missing permission: MODEL_OVERRIDE)"
MODEL_OVERRIDE = (
    f"This instance does not permit {_OVERRIDING}. {_PLEASE}",
    "User lacks model_override permission required to override model/provider.",
)
TOO_LONG = ("Prompt is too long", "The prompt exceeds the maximum allowed length.")
NO_STACK = (
    "Unable to connect to Llama Stack",
    "Connection error while trying to reach backend service.",
)
_KEPT_OUT = {
    "endpoint": (
        "User does not have permission to access this endpoint",
        "User 6789 is not authorized to access this endpoint.",
    ),
    "feedback": ("Storing feedback is disabled", "Storing feedback is disabled."),
    "model override": MODEL_OVERRIDE,
}


def forbidden(*kinds: str) -> Responses:
    """Return the response of a call that has more reasons than the lack of an action."""
    examples = {kind: _KEPT_OUT[kind] for kind in ("endpoint", *kinds)}
    return _response(403, ForbiddenResponse, "Permission denied", examples)


FORBIDDEN = forbidden()
PROMPT_TOO_LONG = _response(
    413,
    PromptTooLongResponse,
    "Prompt is too long",
    {"prompt too long": TOO_LONG},
)
UNPROCESSABLE = _response(
    422,
    UnprocessableEntityResponse,
    "Request validation failed",
    {
        "invalid format": (
            "Invalid request format",
            "Invalid request format. The request body could not be parsed.",
        ),
        "missing attributes": (
            "Missing required attributes",
            "Missing required attributes: ['query', 'model', 'provider']",
        ),
        "invalid value": (
            "Invalid attribute value",
            "Invalid attachment type: must be one of ['text/plain', 'application/json']",
        ),
    },
)
_NO_TOKENS = "The quota has been exceeded"
QUOTA_EXCEEDED = _response(
    429,
    QuotaExceededResponse,
    "Quota limit exceeded",
    {
        "user none": (_NO_TOKENS, "User 123 has no available tokens."),
        "cluster none": (_NO_TOKENS, "Cluster has no available tokens."),
    },
)
_BROKEN = {
    "internal": (
        "Internal server error",
        "An unexpected error occurred while processing the request.",
    ),
    "database": ("Database query failed", "Failed to query the database"),
    "conversation cache": (
        "Conversation cache not configured",
        "Conversation cache is not configured or unavailable.",
    ),
}


def internal_server_error(*kinds: str) -> Responses:
    """Return the response of a call that has more to go wrong than what nobody has foreseen."""
    examples = {kind: _BROKEN[kind] for kind in ("internal", *kinds)}
    return _response(500, InternalServerErrorResponse, "Internal server error", examples)


INTERNAL_SERVER_ERROR = internal_server_error()
SERVICE_UNAVAILABLE = _response(
    503,
    ServiceUnavailableResponse,
    "Service unavailable",
    {"llama stack": NO_STACK},
)
ACCESS: Responses = UNAUTHORIZED | FORBIDDEN
"""What every route may answer."""

LISTING: Responses = ACCESS | INTERNAL_SERVER_ERROR | SERVICE_UNAVAILABLE
"""What every route may answer that asks the stack what it has."""

_MISSING = {
    "conversation": (
        "Conversation not found",
        "Conversation with ID 123e4567-e89b-12d3-a456-426614174000 does not exist",
    ),
    "provider": ("Provider not found", "Provider with ID openai does not exist"),
    "model": ("Model not found", "Model with ID gpt-4-turbo is not configured"),
    "rag": (
        "Rag not found",
        "Rag with ID vs_7b52a8cf-0fa3-489c-beab-27e061d102f3 does not exist",
    ),
}


def not_found(*kinds: str) -> Responses:
    """Return the response of a call that names what is not there; see ``ResourceNotFound``."""
    examples = {kind: _MISSING[kind] for kind in kinds}
    return _response(404, NotFoundResponse, "Resource not found", examples)


QUERYING: Responses = (
    UNAUTHORIZED
    | forbidden("model override")
    | not_found("conversation", "provider", "model")
    | PROMPT_TOO_LONG
    | UNPROCESSABLE
    | QUOTA_EXCEEDED
    | INTERNAL_SERVER_ERROR
    | SERVICE_UNAVAILABLE
)
"""What a question may be answered with instead."""


def succeeds(example: Any) -> Responses:
    """Return the response of a call that succeeds."""
    return {
        200: {
            "description": "Successful response",
            "content": {"application/json": {"example": example}},
        }
    }


def succeeds_as(examples: Mapping[str, Any]) -> Responses:
    """Return the response of a call that succeeds in several ways."""
    shown = {name: {"value": value} for name, value in examples.items()}
    return {
        200: {
            "description": "Successful response",
            "content": {"application/json": {"examples": shown}},
        }
    }
