"""Errors as gRPC says them: a status code and ``google.rpc`` details (1.0 sections 5.4 and 10.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from agent import errors
from agent.dialects.errors import INTERNAL_ERROR, error_code, error_reason
from agent.dialects.v1_0 import Dialect1
from agent.rpc_answer import unexpected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

DOMAIN = "a2a-protocol.org"
DETAILS = "grpc-status-details-bin"

CODES: dict[type[errors.AgentError], StatusCode] = {
    errors.ParseError: StatusCode.INVALID_ARGUMENT,
    errors.InvalidRequest: StatusCode.INVALID_ARGUMENT,
    errors.MethodNotFound: StatusCode.UNIMPLEMENTED,
    errors.InvalidParams: StatusCode.INVALID_ARGUMENT,
    errors.TaskNotFound: StatusCode.NOT_FOUND,
    errors.TaskNotCancelable: StatusCode.FAILED_PRECONDITION,
    errors.PushNotificationNotSupported: StatusCode.FAILED_PRECONDITION,
    errors.UnsupportedOperation: StatusCode.FAILED_PRECONDITION,
    errors.TaskTaken: StatusCode.FAILED_PRECONDITION,
    errors.ContentTypeNotSupported: StatusCode.INVALID_ARGUMENT,
    errors.WrongContentType: StatusCode.INVALID_ARGUMENT,
    errors.InvalidAgentResponse: StatusCode.INTERNAL,
    errors.ExtendedCardNotConfigured: StatusCode.FAILED_PRECONDITION,
    errors.ExtensionSupportRequired: StatusCode.FAILED_PRECONDITION,
    errors.VersionNotSupported: StatusCode.FAILED_PRECONDITION,
    # Those of our own, by what a caller can do: wait and try again, or follow the task anew.
    errors.PayloadTooLarge: StatusCode.RESOURCE_EXHAUSTED,
    errors.TooManyTasks: StatusCode.RESOURCE_EXHAUSTED,
    errors.StateUnavailable: StatusCode.UNAVAILABLE,
    errors.ServerStopping: StatusCode.UNAVAILABLE,
    errors.StreamEnded: StatusCode.ABORTED,
    errors.KeyReused: StatusCode.ALREADY_EXISTS,
    errors.Unauthenticated: StatusCode.UNAUTHENTICATED,
    errors.MalformedCredentials: StatusCode.INVALID_ARGUMENT,
    errors.PermissionDenied: StatusCode.PERMISSION_DENIED,
    errors.QuotaExceeded: StatusCode.RESOURCE_EXHAUSTED,
    errors.TooManyAttempts: StatusCode.RESOURCE_EXHAUSTED,
    errors.TooManyStreams: StatusCode.RESOURCE_EXHAUSTED,
    errors.IdentityUnavailable: StatusCode.UNAVAILABLE,
    errors.ResourceNotFound: StatusCode.NOT_FOUND,
}


class Failure(msgspec.Struct, frozen=True):
    """What ends a call that failed."""

    code: StatusCode
    message: str
    details: bytes
    """``google.rpc.Status``, which says it all once more, and why."""


def failure(error: Exception, *, named: bool = False) -> Failure:
    """Translate an error outward.

    ``named`` puts the name of the error before its message: 0.3 has no other place for it on gRPC, and
    clients look there.
    """
    if not isinstance(error, errors.AgentError) or error_code(error) == INTERNAL_ERROR:
        return _internal(error, named=named)
    reason = error_reason(error)
    return _failure(
        errors.by_kind(CODES, error) or StatusCode.UNKNOWN,
        f"{_name(reason)}: {error.message}" if named else error.message,
        *_details(error, reason),
    )


def _details(error: errors.AgentError, reason: str) -> Iterator[Message]:
    yield ErrorInfo(reason=reason, domain=DOMAIN)
    if isinstance(error, errors.InvalidParams):
        violation = BadRequest.FieldViolation(field=error.field, description=error.problem)
        yield BadRequest(field_violations=[violation])
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        yield RetryInfo(retry_delay=Duration(seconds=retry_after))


def _internal(error: Exception, *, named: bool) -> Failure:
    """Say nothing but the id under which the log has the error."""
    said = unexpected(error, Dialect1())
    request = RequestInfo(request_id=said.data[0]["requestId"])
    message = f"InternalError: {said.message}" if named else said.message
    return _failure(StatusCode.INTERNAL, message, request)


def _failure(code: StatusCode, message: str, *details: Message) -> Failure:
    status = Status(code=code.value[0], message=message)
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return Failure(code, message, status.SerializeToString())


def _name(reason: str) -> str:
    """Return what the specifications call an error: ``TASK_NOT_FOUND`` is TaskNotFoundError."""
    return "".join(word.capitalize() for word in reason.split("_")) + "Error"
