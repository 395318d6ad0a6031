"""Errors and media types of the HTTP+JSON binding."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from a2a.utils.errors import A2A_ERROR_MAPPING, A2A_REASON_TO_ERROR
from google.protobuf.json_format import ParseDict
from google.rpc import error_details_pb2, status_pb2

from agent import errors
from agent.dialects.errors import CODES
from agent.errors import AgentError, InvalidParams, TooManyTasks
from agent.http_json.media import media_type
from agent.http_json.status import STATUS, describe, unexpected, wrong_method

A2A = "application/a2a+json"
JSON = "application/json"

EXAMPLES: dict[type[AgentError], AgentError] = {
    InvalidParams: InvalidParams("message.parts", "must not be empty"),
    TooManyTasks: TooManyTasks(7),
    errors.ServerStopping: errors.ServerStopping(3),
    errors.TooManyStreams: errors.TooManyStreams(5),
    errors.TooManyAttempts: errors.TooManyAttempts(60),
    errors.Unauthenticated: errors.Unauthenticated("Token has expired"),
    errors.MalformedCredentials: errors.MalformedCredentials("Invalid JSON"),
    errors.PermissionDenied: errors.PermissionDenied("User ann may not"),
    errors.QuotaExceeded: errors.QuotaExceeded("User ann has no available tokens."),
    errors.IdentityUnavailable: errors.IdentityUnavailable("Nobody answers"),
    errors.ResourceNotFound: errors.ResourceNotFound("model", "openai/none"),
}


def said(error: AgentError, *, named: bool = False) -> Any:
    return json.loads(describe(error).written(named=named))


def example(kind: type[AgentError]) -> AgentError:
    return EXAMPLES.get(kind) or kind()


@pytest.mark.parametrize("kind", CODES)
def test_every_error_has_a_status(kind: type[AgentError]) -> None:
    assert kind in STATUS
    error = said(example(kind))["error"]
    assert (error["code"], error["status"]) == STATUS[kind]
    assert error["message"] == example(kind).message
    info = error["details"][0]
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert info["domain"] == "a2a-protocol.org"
    assert info["reason"] == CODES[kind][1]


@pytest.mark.parametrize("kind", CODES)
def test_the_sdk_agrees_on_the_errors_of_the_specification(kind: type[AgentError]) -> None:
    """Section 5.4 of 1.0, as a2a-sdk has it; it knows no 415, which is HTTP's own."""
    known = A2A_REASON_TO_ERROR.get(CODES[kind][1])
    if known is not None and kind is not errors.WrongContentType:
        mapped = A2A_ERROR_MAPPING[known]
        assert STATUS[kind] == (mapped.http_code, mapped.grpc_status)


@pytest.mark.parametrize("kind", CODES)
def test_an_error_is_a_google_rpc_status(kind: type[AgentError]) -> None:
    error = said(example(kind))["error"]
    types = {
        "ErrorInfo": error_details_pb2.ErrorInfo,
        "BadRequest": error_details_pb2.BadRequest,
        "RetryInfo": error_details_pb2.RetryInfo,
    }
    for detail in error["details"]:
        name = detail.pop("@type").removeprefix("type.googleapis.com/google.rpc.")
        ParseDict(detail, types[name]())
    ParseDict({"code": error["code"], "message": error["message"]}, status_pb2.Status())


def test_a_wrong_parameter_is_named() -> None:
    details = said(InvalidParams("message.parts", "must not be empty"))["error"]["details"]
    assert details[1] == {
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{"field": "message.parts", "description": "must not be empty"}],
    }


@pytest.mark.parametrize(
    ("error", "seconds"),
    [(TooManyTasks(7), 7), (errors.ServerStopping(3), 3), (errors.StateUnavailable(), 5)],
)
def test_what_passes_says_when_to_try_again(error: AgentError, seconds: int) -> None:
    problem = describe(error)
    assert problem.retry_after == seconds
    assert problem.more[-1]["retryDelay"] == f"{seconds}s"


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (errors.TaskNotFound(), "TaskNotFoundError"),
        (errors.ParseError(), "JSONParseError"),
        (InvalidParams("a", "b"), "InvalidParamsError"),
        (errors.TaskTaken(), "UnsupportedOperationError"),
        (errors.ExtendedCardNotConfigured(), "AuthenticatedExtendedCardNotConfiguredError"),
    ],
)
def test_clients_of_0_3_find_the_name_of_the_error(error: AgentError, name: str) -> None:
    body = said(error, named=True)
    assert (body["type"], body["message"]) == (name, error.message)
    assert "type" not in said(error)


def test_a_fault_of_ours_is_logged_under_an_id_and_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        body = unexpected(RuntimeError("a secret")).written(named=True)
    assert b"secret" not in body
    error = json.loads(body)["error"]
    assert (error["code"], error["status"]) == (500, "INTERNAL")
    assert error["details"][0]["reason"] == "INTERNAL_ERROR"
    assert error["details"][1]["requestId"] in caplog.text
    assert "a secret" in caplog.text


def test_an_error_that_callers_should_not_know_of_is_a_fault_of_ours() -> None:
    assert said(errors.StackUnavailable("secret.example"))["error"]["message"] == "Internal error"


def test_a_wrong_method_is_told_alike() -> None:
    refused = json.loads(wrong_method("GET, HEAD").written(named=False))["error"]
    assert (refused["code"], refused["details"][0]["reason"]) == (405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize(
    ("accept", "content_type", "answered"),
    [
        ("", "", JSON),
        ("*/*", "", JSON),
        ("*/*", A2A, A2A),
        ("*/*", f"{A2A.upper()}; charset=utf-8", A2A),
        ("", JSON, JSON),
        ("", "text/plain", JSON),
        (A2A, JSON, A2A),
        (JSON, A2A, JSON),
        (f"{JSON}, {A2A}", A2A, A2A),
        (f"{JSON}, {A2A}", "", JSON),
        (f"{JSON};q=0.5, {A2A}", JSON, A2A),
        (f"{A2A};q=0.1, {JSON};q=x", A2A, JSON),
        (f"{A2A};q=0, */*", "", JSON),
        (f"text/event-stream, {A2A}", "", A2A),
        ("text/html", A2A, A2A),
        (f" {A2A} ; v=1;q=0.9 ", "", A2A),
        (",;,=", "", JSON),
    ],
)
def test_the_media_type_is_what_is_asked_for(accept: str, content_type: str, answered: str) -> None:
    assert media_type(accept, content_type) == answered
