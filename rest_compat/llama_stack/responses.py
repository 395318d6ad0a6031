"""What is answered: JSON that needs no check, and the errors of Llama Stack for the OpenAPI document."""

from typing import Any

import msgspec
from pydantic import BaseModel, Field
from starlette.responses import Response

type Responses = dict[int | str, dict[str, Any]]


def answer(value: Any) -> Response:
    """Return a response with what is JSON already: to check it once more would cost more than to write it."""
    return Response(msgspec.json.encode(value), media_type="application/json")


class Error(BaseModel):
    """Error response from the API. Roughly follows RFC 7807."""

    status: int = Field(description="HTTP status code")
    title: str = Field(description="Error title, the same for all errors of a type")
    detail: str = Field(description="What went wrong, for people")


class FieldError(BaseModel):
    """A field that is missing or wrong."""

    loc: list[str | int] = Field(
        description="Where it is: body, path or query, and the way from there"
    )
    msg: str
    type: str


class FieldErrors(BaseModel):
    """All fields that are missing or wrong, but for those after the first hundred."""

    errors: list[FieldError]


class FieldErrorsDetail(BaseModel):
    """What is wrong with a request."""

    detail: FieldErrors


class InvalidFieldsResponse(BaseModel):
    """Fields of a request are missing or wrong."""

    error: FieldErrorsDetail


_RETRYABLE = "Retry-After says in how many seconds to try again"
ERRORS: Responses = {
    400: {
        "model": InvalidFieldsResponse | Error,
        "description": "The request was invalid or malformed",
    },
    401: {"model": Error, "description": "Missing or invalid credentials"},
    403: {"model": Error, "description": "The caller may not do this"},
    429: {"model": Error, "description": f"Too many requests, or no tokens left. {_RETRYABLE}"},
    500: {"model": Error, "description": "The server encountered an unexpected error"},
    503: {"model": Error, "description": f"Something behind this server is away. {_RETRYABLE}"},
    "default": {"model": Error, "description": "An unexpected error occurred"},
}
"""What every route may answer."""
NOT_FOUND: Responses = {404: {"model": Error, "description": "It is not there, or another's"}}
TOO_LARGE: Responses = {413: {"model": Error, "description": "The request is too large"}}
EMPTY: Responses = {204: {"description": "Deleted; nothing is said of it"}}
