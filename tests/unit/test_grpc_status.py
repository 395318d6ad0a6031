"""Errors as gRPC says them."""

import logging

import pytest

pytest.importorskip("grpc")

from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from agent import errors
from agent.dialects.errors import CODES as JSON_RPC_CODES
from agent.dialects.errors import error_reason
from agent.grpc_binding.status import CODES, Failure, failure

# 1.0 section 5.4.
SPECIFIED = {
    errors.TaskNotFound: (StatusCode.NOT_FOUND, "TASK_NOT_FOUND"),
    errors.TaskNotCancelable: (StatusCode.FAILED_PRECONDITION, "TASK_NOT_CANCELABLE"),
    errors.PushNotificationNotSupported: (
        StatusCode.FAILED_PRECONDITION,
        "PUSH_NOTIFICATION_NOT_SUPPORTED",
    ),
    errors.UnsupportedOperation: (StatusCode.FAILED_PRECONDITION, "UNSUPPORTED_OPERATION"),
    errors.ContentTypeNotSupported: (StatusCode.INVALID_ARGUMENT, "CONTENT_TYPE_NOT_SUPPORTED"),
    errors.InvalidAgentResponse: (StatusCode.INTERNAL, "INVALID_AGENT_RESPONSE"),
    errors.ExtendedCardNotConfigured: (
        StatusCode.FAILED_PRECONDITION,
        "EXTENDED_AGENT_CARD_NOT_CONFIGURED",
    ),
    errors.ExtensionSupportRequired: (
        StatusCode.FAILED_PRECONDITION,
        "EXTENSION_SUPPORT_REQUIRED",
    ),
    errors.VersionNotSupported: (StatusCode.FAILED_PRECONDITION, "VERSION_NOT_SUPPORTED"),
}


def details(failed: Failure) -> dict[str, Message]:
    """Return the details by the names of their types."""
    status = Status.FromString(failed.details)
    assert (status.code, status.message) == (failed.code.value[0], failed.message)
    found: dict[str, Message] = {}
    for detail in status.details:
        (kind,) = [
            kind
            for kind in (ErrorInfo, BadRequest, RetryInfo, RequestInfo)
            if detail.Is(kind.DESCRIPTOR)
        ]
        found[kind.__name__] = kind.FromString(detail.value)
    return found


@pytest.mark.parametrize("kind", SPECIFIED, ids=lambda kind: kind.__name__)
def test_an_error_of_the_specification_has_its_status_and_its_reason(
    kind: type[errors.AgentError],
) -> None:
    code, reason = SPECIFIED[kind]

    failed = failure(kind("What happened"))

    assert (failed.code, failed.message) == (code, "What happened")
    assert details(failed) == {"ErrorInfo": ErrorInfo(reason=reason, domain="a2a-protocol.org")}


def test_every_error_that_json_rpc_has_a_code_for_has_a_status() -> None:
    assert CODES.keys() == JSON_RPC_CODES.keys()


def test_a_wrong_parameter_is_named() -> None:
    failed = failure(errors.InvalidParams("message.parts", "must not be empty"))

    said = details(failed)

    assert failed.code is StatusCode.INVALID_ARGUMENT
    violation = BadRequest.FieldViolation(field="message.parts", description="must not be empty")
    assert said["BadRequest"] == BadRequest(field_violations=[violation])
    assert said["ErrorInfo"] == ErrorInfo(reason="INVALID_PARAMS", domain="a2a-protocol.org")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.TooManyTasks(7), StatusCode.RESOURCE_EXHAUSTED),
        (errors.ServerStopping(7), StatusCode.UNAVAILABLE),
    ],
)
def test_who_may_try_again_is_told_when(error: errors.AgentError, code: StatusCode) -> None:
    failed = failure(error)

    retry = details(failed)["RetryInfo"]

    assert failed.code is code
    assert isinstance(retry, RetryInfo)
    assert retry.retry_delay.seconds == 7


@pytest.mark.parametrize("error", [RuntimeError("a secret"), errors.StateError("a secret")])
def test_an_internal_error_is_an_id_and_the_log_has_the_rest(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        failed = failure(error)

    request = details(failed)["RequestInfo"]
    assert (failed.code, failed.message) == (StatusCode.INTERNAL, "Internal error")
    assert b"secret" not in failed.details
    assert isinstance(request, RequestInfo)
    assert request.request_id in caplog.text
    assert "a secret" in caplog.text


@pytest.mark.parametrize("kind", [*SPECIFIED, errors.InvalidRequest], ids=lambda k: k.__name__)
def test_0_3_has_the_name_of_the_error_before_its_message(kind: type[errors.AgentError]) -> None:
    """That is where a2a-sdk's client for 0.3 looks, and it must know the name."""
    from a2a.utils.errors import JSON_RPC_ERROR_CODE_MAP

    name, _, text = failure(kind("What: happened"), named=True).message.partition(": ")

    assert text == "What: happened"
    code, _ = JSON_RPC_CODES[kind]
    assert {error.__name__: code for error, code in JSON_RPC_ERROR_CODE_MAP.items()}[name] == code
    assert error_reason(kind()).title().replace("_", "") + "Error" == name
