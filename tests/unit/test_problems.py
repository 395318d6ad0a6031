"""What callers of the REST layer are told of errors."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from agent import errors
from rest_compat.problems import (
    REQUEST_ID,
    LastResort,
    Problem,
    describe,
    lightspeed_response,
    unexpected,
)

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio

SECRET = "canary-in-an-exception"
CASES = [
    (
        errors.Unauthenticated("No Authorization header found"),
        401,
        ("Missing or invalid credentials provided by client", "No Authorization header found"),
        {"WWW-Authenticate": "Bearer"},
    ),
    (
        errors.MalformedCredentials("It is no base64"),
        400,
        ("Invalid credentials format", "It is no base64"),
        {},
    ),
    (
        errors.PermissionDenied("User 6789 is not authorized to access this endpoint."),
        403,
        (
            "User does not have permission to access this endpoint",
            "User 6789 is not authorized to access this endpoint.",
        ),
        {},
    ),
    (
        errors.QuotaExceeded("User 123 has no available tokens."),
        429,
        ("The quota has been exceeded", "User 123 has no available tokens."),
        {},
    ),
    (
        errors.TooManyAttempts(30),
        429,
        ("Too many failed authentication attempts", "Try again in 30 seconds."),
        {"Retry-After": "30"},
    ),
    (
        errors.IdentityUnavailable("The key server does not answer"),
        503,
        ("Unable to verify credentials", "The key server does not answer"),
        {"Retry-After": "5"},
    ),
    (
        errors.InvalidParams("MCP-HEADERS", "must be a JSON object"),
        422,
        ("Invalid attribute value", "Invalid parameter MCP-HEADERS: must be a JSON object"),
        {},
    ),
    (
        errors.PayloadTooLarge(),
        413,
        ("Request is too large", "The request is larger than this server accepts."),
        {},
    ),
    (
        errors.TooManyTasks(7),
        429,
        ("Too many requests", "Too many tasks are running; try again later."),
        {"Retry-After": "7"},
    ),
    (
        errors.TooManyStreams(8),
        429,
        (
            "Too many requests",
            "Too many streams of yours are open; end one, or try again later.",
        ),
        {"Retry-After": "8"},
    ),
    (
        errors.ServerStopping(2),
        503,
        ("Service unavailable", "The server is stopping; try again soon."),
        {"Retry-After": "2"},
    ),
    (
        errors.StateUnavailable(),
        503,
        ("Service unavailable", "The state database cannot be reached."),
        {"Retry-After": "5"},
    ),
    (
        errors.StackUnavailable(),
        503,
        ("Unable to connect to Llama Stack", "The stack behind this agent cannot be reached."),
        {"Retry-After": "5"},
    ),
    (
        errors.StackTimeout(),
        503,
        (
            "Unable to connect to Llama Stack",
            "The stack behind this agent did not answer in time.",
        ),
        {"Retry-After": "5"},
    ),
]


@pytest.mark.parametrize(
    ("error", "status", "told", "headers"), CASES, ids=[type(case[0]).__name__ for case in CASES]
)
def test_an_error_is_told_in_the_form_of_lcs(
    error: errors.AgentError, status: int, told: tuple[str, str], headers: dict[str, str]
) -> None:
    problem = describe(error)
    assert problem == Problem(status, *told, headers)
    response = lightspeed_response(problem)
    assert response.status_code == status
    response_text, cause = told
    assert json.loads(bytes(response.body)) == {
        "detail": {"response": response_text, "cause": cause}
    }
    for name, value in headers.items():
        assert response.headers[name] == value


def test_every_way_to_refuse_a_caller_has_its_status() -> None:
    told = {type(case[0]) for case in CASES}
    assert set(errors.Refused.__subclasses__()) <= told


@pytest.mark.parametrize(
    "error", [errors.StateError(SECRET), errors.SettingsError("a", SECRET), ValueError(SECRET)]
)
def test_a_fault_of_ours_is_told_by_the_id_that_the_log_has(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        problem = describe(error) if isinstance(error, errors.AgentError) else unexpected(error)
    assert problem.status == 500
    assert problem.response == "Internal server error"
    assert SECRET not in str(problem)
    (record,) = caplog.records
    assert record.getMessage() == f"Internal error {problem.headers[REQUEST_ID]}"
    assert record.exc_info is not None
    assert record.exc_info[1] is error


class Slower(errors.StackTimeout):
    """A class that is in no table."""


def test_a_class_that_is_in_no_table_is_told_as_the_one_above_it() -> None:
    assert describe(Slower()) == describe(errors.StackTimeout(Slower.__doc__))


async def said_by(app: Any) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await LastResort(app)({"type": "http", "method": "GET", "headers": []}, None, send)  # type: ignore[arg-type]
    return sent


async def test_what_breaks_before_the_response_begins_is_answered() -> None:
    async def breaks(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ValueError(SECRET)

    start, body = await said_by(breaks)
    assert start["status"] == 500
    assert json.loads(body["body"]) == {
        "detail": {
            "response": "Internal server error",
            "cause": "An unexpected error occurred while processing the request.",
        }
    }


async def test_a_response_that_breaks_off_is_not_made_to_look_whole() -> None:
    async def breaks(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError(SECRET)

    with pytest.raises(ValueError, match=SECRET):
        await said_by(breaks)
