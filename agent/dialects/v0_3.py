"""A2A 0.3 on the wire: ``kind``, lower-case states, ``final`` on the last status of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec
from msgspec import UNSET

from agent.dialects import v0_3_wire as wire
from agent.dialects.errors import error_reason
from agent.dialects.read import not_negative, read
from agent.errors import (
    ExtendedCardNotConfigured,
    InvalidParams,
    PushNotificationNotSupported,
    UnsupportedOperation,
)
from agent.model import (
    SETTLED,
    Artifact,
    ArtifactUpdate,
    Event,
    GetRequest,
    Json,
    Message,
    Part,
    Role,
    SendRequest,
    StatusUpdate,
    Task,
    TaskState,
    TaskStatus,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.errors import AgentError, RequestError

VERSION = "0.3"

_encode = msgspec.json.Encoder().encode

STATES = {state: state.name.lower().replace("_", "-") for state in TaskState}


_send_decoder = msgspec.json.Decoder(wire.SendParams)
_get_decoder = msgspec.json.Decoder(wire.GetParams)


class Dialect03:
    """A2A 0.3."""

    version = VERSION
    methods: ClassVar[Mapping[str, str]] = {
        "message/send": "send",
        "message/stream": "stream",
        "tasks/get": "get",
    }
    # Section 8.2.
    refused: ClassVar[Mapping[str, type[RequestError]]] = {
        "tasks/cancel": UnsupportedOperation,
        "tasks/resubscribe": UnsupportedOperation,
        "agent/getAuthenticatedExtendedCard": ExtendedCardNotConfigured,
        "tasks/pushNotificationConfig/set": PushNotificationNotSupported,
        "tasks/pushNotificationConfig/get": PushNotificationNotSupported,
        "tasks/pushNotificationConfig/list": PushNotificationNotSupported,
        "tasks/pushNotificationConfig/delete": PushNotificationNotSupported,
    }

    def read_send(self, params: bytes) -> SendRequest:
        """Read ``MessageSendParams`` (0.3 section 7.1.1). ``blocking`` counts as true when absent."""
        read_params = read(_send_decoder, params)
        configuration = read_params.configuration or wire.Configuration()
        return SendRequest(
            message=_read_message(read_params.message),
            accepted_output_modes=tuple(configuration.accepted_output_modes or ()),
            history_length=not_negative(
                configuration.history_length, "configuration.historyLength"
            ),
            return_immediately=configuration.blocking is False,
            push_config=configuration.push_notification_config,
            metadata=read_params.metadata,
        )

    def read_get(self, params: bytes) -> GetRequest:
        """Read ``TaskQueryParams`` (0.3 section 7.3.1)."""
        read_params = read(_get_decoder, params)
        return GetRequest(
            id=read_params.id,
            history_length=not_negative(read_params.history_length, "historyLength"),
        )

    def event(self, event: Event) -> bytes:
        """Write a stream event, which is also what ``message/send`` answers."""
        if isinstance(event, ArtifactUpdate):
            return _encode(_artifact_update(event))
        if isinstance(event, StatusUpdate):
            return _encode(_status_update(event))
        if isinstance(event, Task):
            return _encode(_task(event))
        return _encode(_message(event))

    def task(self, task: Task) -> bytes:
        """Write a ``Task``."""
        return _encode(_task(task))

    def error_data(self, error: AgentError) -> dict[str, Json]:
        """Write the details of an error: free-form in 0.3."""
        if isinstance(error, InvalidParams):
            return {"field": error.field, "problem": error.problem}
        return {"reason": error_reason(error)}

    def request_data(self, request_id: str) -> dict[str, Json]:
        """Write the id that an internal error is logged under."""
        return {"requestId": request_id}


def _read_message(message: wire.Message) -> Message:
    return Message(
        message_id=message.message_id,
        role=Role.USER if message.role == "user" else Role.AGENT,
        parts=[
            _read_part(part, f"message.parts[{index}]") for index, part in enumerate(message.parts)
        ],
        context_id=message.context_id,
        task_id=message.task_id,
        metadata=message.metadata,
        extensions=message.extensions,
        reference_task_ids=message.reference_task_ids,
    )


def _read_part(part: wire.Part, path: str) -> Part:
    if isinstance(part, wire.TextPart):
        return Part(text=part.text, metadata=part.metadata)
    if isinstance(part, wire.DataPart):
        return Part(data=part.data, metadata=part.metadata)
    file = part.file
    if (file.bytes is None) == (file.uri is None):
        raise InvalidParams(f"{path}.file", "must have either bytes or uri")
    return Part(
        raw=file.bytes,
        url=file.uri,
        filename=file.name,
        media_type=file.mime_type,
        metadata=part.metadata,
    )


def _part(part: Part) -> wire.Part:
    if part.text is not None:
        return wire.TextPart(part.text, part.metadata)
    if part.data is not UNSET:
        # 0.3 knows only objects as data.
        data = part.data if isinstance(part.data, dict) else {"value": part.data}
        return wire.DataPart(data, part.metadata)
    return wire.FilePart(
        wire.File(part.filename, part.media_type, part.raw, part.url), part.metadata
    )


def _message(message: Message) -> wire.Message:
    return wire.Message(
        message_id=message.message_id,
        role="user" if message.role is Role.USER else "agent",
        parts=[_part(part) for part in message.parts],
        context_id=message.context_id,
        task_id=message.task_id,
        metadata=message.metadata,
        extensions=message.extensions,
        reference_task_ids=message.reference_task_ids,
    )


def _artifact(artifact: Artifact) -> wire.Artifact:
    return wire.Artifact(
        artifact_id=artifact.artifact_id,
        parts=[_part(part) for part in artifact.parts],
        name=artifact.name,
        description=artifact.description,
        metadata=artifact.metadata,
        extensions=artifact.extensions,
    )


def _status(status: TaskStatus) -> wire.Status:
    message = None if status.message is None else _message(status.message)
    return wire.Status(STATES[status.state], message, status.timestamp)


def _task(task: Task) -> wire.Task:
    return wire.Task(
        id=task.id,
        context_id=task.context_id,
        status=_status(task.status),
        artifacts=[_artifact(artifact) for artifact in task.artifacts],
        history=[_message(message) for message in task.history],
        metadata=task.metadata,
    )


def _status_update(event: StatusUpdate) -> wire.StatusUpdate:
    return wire.StatusUpdate(
        task_id=event.task_id,
        context_id=event.context_id,
        status=_status(event.status),
        final=event.status.state in SETTLED,
        kind="status-update",
        metadata=event.metadata,
    )


def _artifact_update(event: ArtifactUpdate) -> wire.ArtifactUpdate:
    return wire.ArtifactUpdate(
        task_id=event.task_id,
        context_id=event.context_id,
        artifact=_artifact(event.artifact),
        append=event.append,
        last_chunk=event.last_chunk,
        metadata=event.metadata,
    )
