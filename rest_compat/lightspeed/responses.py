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


class UnauthorizedResponse(BaseModel):
    """401 Unauthorized - Missing or invalid credentials."""

    detail: DetailModel


class ForbiddenResponse(BaseModel):
    """403 Forbidden. Access denied."""

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
FORBIDDEN = _response(
    403,
    ForbiddenResponse,
    "Permission denied",
    {
        "endpoint": (
            "User does not have permission to access this endpoint",
            "User 6789 is not authorized to access this endpoint.",
        )
    },
)
INTERNAL_SERVER_ERROR = _response(
    500,
    InternalServerErrorResponse,
    "Internal server error",
    {
        "internal": (
            "Internal server error",
            "An unexpected error occurred while processing the request.",
        )
    },
)
SERVICE_UNAVAILABLE = _response(
    503,
    ServiceUnavailableResponse,
    "Service unavailable",
    {
        "llama stack": (
            "Unable to connect to Llama Stack",
            "Connection error while trying to reach backend service.",
        )
    },
)
ACCESS: Responses = UNAUTHORIZED | FORBIDDEN
"""What every route may answer."""


def succeeds(example: Any) -> Responses:
    """Return the response of a call that succeeds."""
    return {
        200: {
            "description": "Successful response",
            "content": {"application/json": {"example": example}},
        }
    }
