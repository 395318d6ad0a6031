"""Errors as Llama Stack writes them: ``{"error": {"detail": {"errors": [...]}}}`` for fields.

All others have ``detail``, and the other members of the ``Error`` of its specification: status and title.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi.exceptions import RequestValidationError
from starlette.responses import JSONResponse

from agent import errors
from rest_compat.problems import InvalidFields, Problem, describe

if TYPE_CHECKING:
    from starlette.requests import Request

BAD_REQUEST = 400
_STATUSES: dict[type[errors.AgentError], int] = {
    errors.TaskNotFound: 404,
    errors.NotProvided: 501,
    errors.TurnFailed: 500,
    errors.PromptTooLong: 413,
}


async def refuse(_request: Request, error: Exception) -> JSONResponse:
    """Handle the errors of our tree, and of FastAPI about fields, as FastAPI wants handlers."""
    if isinstance(error, RequestValidationError):
        error = InvalidFields(error)
    if isinstance(error, InvalidFields):
        return JSONResponse({"error": {"detail": {"errors": error.fields}}}, BAD_REQUEST)
    assert isinstance(error, errors.AgentError)  # noqa: S101 - FastAPI calls it for nothing else
    return llama_stack_response(problem_of(error))


def problem_of(error: errors.AgentError) -> Problem:
    """Translate an error outward: LCS's status, but that what is wrong with a request is 400."""
    status = errors.by_kind(_STATUSES, error)
    if status is not None:
        return Problem(status, error.message, error.message)
    problem = describe(error)
    if problem.status != HTTPStatus.UNPROCESSABLE_ENTITY:
        return problem
    return Problem(BAD_REQUEST, problem.response, problem.cause, problem.headers)


def llama_stack_response(problem: Problem) -> JSONResponse:
    """Return the response of Llama Stack."""
    title = HTTPStatus(problem.status).phrase
    content = {"status": problem.status, "title": title, "detail": problem.cause}
    return JSONResponse(content, problem.status, problem.headers)


def error_chunk(problem: Problem) -> dict[str, dict[str, str]]:
    """Return the last chunk of a stream that fails, as Llama Stack says it: the status is in the text."""
    return {"error": {"message": f"{problem.status}: {problem.cause}"}}
