"""A2A 0.3: the values on the wire <-> what the server thinks in."""

from __future__ import annotations

from msgspec import UNSET

from agent.dialects import v0_3_wire as wire
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

VERSION = "0.3"

STATES = {state: state.name.lower().replace("_", "-") for state in TaskState}


def read_message(message: wire.Message) -> Message:
    """Read a ``Message``."""
    return Message(
        message_id=message.message_id,
        role=Role.USER if message.role == "user" else Role.AGENT,
        parts=[
            read_part(part, f"message.parts[{index}]") for index, part in enumerate(message.parts)
        ],
        context_id=message.context_id,
        task_id=message.task_id,
        metadata=message.metadata,
        extensions=message.extensions,
        reference_task_ids=message.reference_task_ids,
    )


def read_part(part: wire.Part, path: str) -> Part:
    """Read a ``Part``; ``path`` names it in errors."""
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


def read_push_config(task_id: str, config: wire.PushConfig) -> PushConfig:
    """Read a ``PushNotificationConfig``."""
    given = config.authentication
    return PushConfig(
        url=config.url,
        version=VERSION,
        id=config.id or "",
        task_id=task_id,
        token=config.token,
        authentication=None
        if given is None
        else PushAuthentication(tuple(given.schemes), given.credentials),
    )


def write_push_config(config: PushConfig) -> wire.TaskPushConfig:
    """Write a ``TaskPushNotificationConfig``."""
    given = config.authentication
    return wire.TaskPushConfig(
        config.task_id,
        wire.PushConfig(
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
        return wire.TextPart(part.text, part.metadata)
    if part.data is not UNSET:
        # 0.3 knows only objects as data.
        data = part.data if isinstance(part.data, dict) else {"value": part.data}
        return wire.DataPart(data, part.metadata)
    return wire.FilePart(
        wire.File(part.filename, part.media_type, part.raw, part.url), part.metadata
    )


def write_message(message: Message) -> wire.Message:
    """Write a ``Message``."""
    return wire.Message(
        message_id=message.message_id,
        role="user" if message.role is Role.USER else "agent",
        parts=[write_part(part) for part in message.parts],
        context_id=message.context_id,
        task_id=message.task_id,
        metadata=message.metadata,
        extensions=message.extensions,
        reference_task_ids=message.reference_task_ids,
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


def write_listed(task: Task) -> wire.ListedTask:
    """Write a ``Task`` whose artifacts were asked for."""
    said = write_task(task)
    return wire.ListedTask(
        said.id, said.context_id, said.status, said.artifacts, said.history, said.metadata
    )


def write_status_update(event: StatusUpdate) -> wire.StatusUpdate:
    """Write a ``TaskStatusUpdateEvent``."""
    return wire.StatusUpdate(
        task_id=event.task_id,
        context_id=event.context_id,
        status=write_status(event.status),
        final=event.status.state in SETTLED,
        kind="status-update",
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
