"""A2A 0.3: the values of its Protocol Buffers file <-> what the server thinks in."""

from __future__ import annotations

import base64
import binascii

from msgspec import UNSET

from agent.dialects import v0_3_proto_wire as wire
from agent.dialects.v0_3_values import VERSION
from agent.errors import InvalidParams
from agent.model import (
    SETTLED,
    Artifact,
    ArtifactUpdate,
    Message,
    Part,
    PushAuthentication,
    PushConfig,
    Role,
    StatusUpdate,
    Task,
    TaskState,
    TaskStatus,
)

# The file spells one state in its own way.
STATES = {state: state.value for state in TaskState} | {
    TaskState.CANCELED: "TASK_STATE_CANCELLED",
}
TASKS = "tasks/"
CONFIGS = "/pushNotificationConfigs/"


def read_message(message: wire.Message) -> Message:
    """Read a ``Message``; strings that are empty count as absent."""
    return Message(
        message_id=message.message_id,
        role=Role(message.role),
        parts=[
            read_part(part, f"message.content[{index}]")
            for index, part in enumerate(message.content)
        ],
        context_id=message.context_id or None,
        task_id=message.task_id or None,
        metadata=message.metadata,
        extensions=message.extensions,
    )


def read_part(part: wire.Part, path: str) -> Part:
    """Read a ``Part``; ``path`` names it in errors."""
    if sum(given is not None for given in (part.text, part.file, part.data)) != 1:
        raise InvalidParams(path, "must have exactly one of text, file and data")
    if part.data is not None:
        return Part(data=part.data.data, metadata=part.metadata)
    if part.file is None:
        return Part(text=part.text, metadata=part.metadata)
    file = part.file
    if (file.file_with_bytes is None) == (file.file_with_uri is None):
        raise InvalidParams(f"{path}.file", "must have either fileWithBytes or fileWithUri")
    return Part(
        raw=None if file.file_with_bytes is None else _read_bytes(file.file_with_bytes),
        url=file.file_with_uri,
        filename=file.name,
        media_type=file.mime_type,
        metadata=part.metadata,
    )


def _read_bytes(given: str) -> str:
    """Return the base64 of a file.

    The 0.3 SDKs fill the field of type bytes with the text of the base64, so that JSON, which writes
    bytes as base64, holds it twice. A file that is there once is taken too.
    """
    try:
        once = base64.b64decode(given, validate=True)
        base64.b64decode(once, validate=True)
        return once.decode("ascii")
    except (binascii.Error, ValueError):
        return given


def read_push_config(task_id: str, config: wire.PushConfig, config_id: str = "") -> PushConfig:
    """Read a ``PushNotificationConfig``."""
    given = config.authentication
    return PushConfig(
        url=config.url,
        version=VERSION,
        id=config_id or config.id or "",
        task_id=task_id,
        token=config.token or None,
        authentication=None
        if given is None
        else PushAuthentication(tuple(given.schemes), given.credentials),
    )


def write_push_config(config: PushConfig) -> wire.TaskPushConfig:
    """Write a ``TaskPushNotificationConfig``."""
    given = config.authentication
    return wire.TaskPushConfig(
        name=f"{TASKS}{config.task_id}{CONFIGS}{config.id}",
        push_notification_config=wire.PushConfig(
            url=config.url,
            id=config.id,
            token=config.token,
            authentication=None
            if given is None
            else wire.Authentication(list(given.schemes), given.credentials),
        ),
    )


def write_part(part: Part) -> wire.Part:
    """Write a ``Part``."""
    if part.text is not None:
        return wire.Part(text=part.text, metadata=part.metadata)
    if part.data is not UNSET:
        data = part.data if isinstance(part.data, dict) else {"value": part.data}
        return wire.Part(data=wire.Data(data), metadata=part.metadata)
    raw = None if part.raw is None else base64.b64encode(part.raw.encode()).decode()
    return wire.Part(
        file=wire.File(
            file_with_uri=part.url,
            file_with_bytes=raw,
            mime_type=part.media_type,
            name=part.filename,
        ),
        metadata=part.metadata,
    )


def write_message(message: Message) -> wire.Message:
    """Write a ``Message``."""
    return wire.Message(
        message_id=message.message_id,
        role="ROLE_USER" if message.role is Role.USER else "ROLE_AGENT",
        content=[write_part(part) for part in message.parts],
        context_id=message.context_id,
        task_id=message.task_id,
        metadata=message.metadata,
        extensions=message.extensions,
    )


def write_artifact(artifact: Artifact) -> wire.Artifact:
    """Write an ``Artifact``."""
    return wire.Artifact(
        artifact_id=artifact.artifact_id,
        parts=[write_part(part) for part in artifact.parts],
        name=artifact.name,
        description=artifact.description,
        metadata=artifact.metadata,
        extensions=artifact.extensions,
    )


def write_status(status: TaskStatus) -> wire.Status:
    """Write a ``TaskStatus``."""
    message = None if status.message is None else write_message(status.message)
    return wire.Status(STATES[status.state], message, status.timestamp)


def write_task(task: Task) -> wire.Task:
    """Write a ``Task``."""
    return wire.Task(
        id=task.id,
        context_id=task.context_id,
        status=write_status(task.status),
        artifacts=[write_artifact(artifact) for artifact in task.artifacts],
        history=[write_message(message) for message in task.history],
        metadata=task.metadata,
    )


def write_status_update(event: StatusUpdate) -> wire.StatusUpdate:
    """Write a ``TaskStatusUpdateEvent``."""
    return wire.StatusUpdate(
        task_id=event.task_id,
        context_id=event.context_id,
        status=write_status(event.status),
        final=event.status.state in SETTLED,
        metadata=event.metadata,
    )


def write_artifact_update(event: ArtifactUpdate) -> wire.ArtifactUpdate:
    """Write a ``TaskArtifactUpdateEvent``."""
    return wire.ArtifactUpdate(
        task_id=event.task_id,
        context_id=event.context_id,
        artifact=write_artifact(event.artifact),
        append=event.append,
        last_chunk=event.last_chunk,
        metadata=event.metadata,
    )
