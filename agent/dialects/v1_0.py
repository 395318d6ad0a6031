"""A2A 1.0 on the wire (ProtoJSON): the stored form, so encoding is what msgspec does by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec

from agent.dialects.errors import error_reason
from agent.dialects.read import not_negative, read
from agent.errors import InvalidParams, PushNotificationNotSupported, UnsupportedOperation
from agent.model import (
    ArtifactUpdate,
    Event,
    GetRequest,
    Json,
    Message,
    Metadata,
    SendRequest,
    StatusUpdate,
    Task,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.errors import AgentError, RequestError

VERSION = "1.0"

_encode = msgspec.json.Encoder().encode


class _Configuration(msgspec.Struct, frozen=True, rename="camel"):
    accepted_output_modes: list[str] | None = None
    history_length: int | None = None
    return_immediately: bool | None = None
    task_push_notification_config: Json = None


class _SendParams(msgspec.Struct, frozen=True, rename="camel"):
    message: Message
    configuration: _Configuration | None = None
    tenant: str | None = None
    metadata: Metadata = None


class _GetParams(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    tenant: str | None = None
    history_length: int | None = None


_send_decoder = msgspec.json.Decoder(_SendParams)
_get_decoder = msgspec.json.Decoder(_GetParams)


class Dialect1:
    """A2A 1.0."""

    version = VERSION
    methods: ClassVar[Mapping[str, str]] = {
        "SendMessage": "send",
        "SendStreamingMessage": "stream",
        "GetTask": "get",
    }
    # Section 3.3.4.
    refused: ClassVar[Mapping[str, type[RequestError]]] = {
        "ListTasks": UnsupportedOperation,
        "CancelTask": UnsupportedOperation,
        "SubscribeToTask": UnsupportedOperation,
        "GetExtendedAgentCard": UnsupportedOperation,
        "CreateTaskPushNotificationConfig": PushNotificationNotSupported,
        "GetTaskPushNotificationConfig": PushNotificationNotSupported,
        "ListTaskPushNotificationConfigs": PushNotificationNotSupported,
        "DeleteTaskPushNotificationConfig": PushNotificationNotSupported,
    }

    def read_send(self, params: bytes) -> SendRequest:
        """Read ``SendMessageRequest`` (section 3.1.1)."""
        read_params = read(_send_decoder, params)
        configuration = read_params.configuration or _Configuration()
        return SendRequest(
            message=read_params.message,
            tenant=read_params.tenant or "",
            accepted_output_modes=tuple(configuration.accepted_output_modes or ()),
            history_length=not_negative(
                configuration.history_length, "configuration.historyLength"
            ),
            return_immediately=bool(configuration.return_immediately),
            push_config=configuration.task_push_notification_config,
            metadata=read_params.metadata,
        )

    def read_get(self, params: bytes) -> GetRequest:
        """Read ``GetTaskRequest`` (section 3.1.3)."""
        read_params = read(_get_decoder, params)
        return GetRequest(
            id=read_params.id,
            tenant=read_params.tenant or "",
            history_length=not_negative(read_params.history_length, "historyLength"),
        )

    def event(self, event: Event) -> bytes:
        """Write a ``StreamResponse``, which is also what ``SendMessage`` answers."""
        return wrap(event)

    def task(self, task: Task) -> bytes:
        """Write a ``Task``."""
        return _encode(task)

    def error_data(self, error: AgentError) -> list[dict[str, Json]]:
        """Write the ``google.rpc`` details of an error (section 9.5)."""
        if isinstance(error, InvalidParams):
            violation = {"field": error.field, "description": error.problem}
            return [
                {
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "fieldViolations": [violation],
                }
            ]
        return [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": error_reason(error),
                "domain": "a2a-protocol.org",
            }
        ]

    def request_data(self, request_id: str) -> list[dict[str, Json]]:
        """Write the id that an internal error is logged under, as ``google.rpc.RequestInfo``."""
        return [{"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": request_id}]


_MEMBERS: dict[type[Event], bytes] = {
    ArtifactUpdate: b'{"artifactUpdate":',
    StatusUpdate: b'{"statusUpdate":',
    Task: b'{"task":',
    Message: b'{"message":',
}


def wrap(event: Event) -> bytes:
    """Write an event as the member of ``StreamResponse`` that it is."""
    return _MEMBERS[type(event)] + _encode(event) + b"}"
