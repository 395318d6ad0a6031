"""The types of A2A 0.3 as its Protocol Buffers file has them, in ProtoJSON."""

from __future__ import annotations

from typing import Literal

import msgspec

from agent.model import (  # noqa: TC001 - msgspec resolves the annotations of fields
    Json,
    Metadata,
)


class _Value(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Fields that have their default are never encoded, as in ProtoJSON."""


class File(_Value, frozen=True):
    """``FilePart``: one of the first two is set."""

    file_with_uri: str | None = None
    file_with_bytes: str | None = None
    mime_type: str | None = None
    name: str | None = None


class Data(msgspec.Struct, frozen=True):
    """``DataPart``: a JSON object."""

    data: dict[str, Json]


class Part(_Value, frozen=True):
    """One of ``text``, ``file`` and ``data`` is set."""

    text: str | None = None
    file: File | None = None
    data: Data | None = None
    metadata: Metadata = None


class Message(_Value, frozen=True):
    """One message."""

    message_id: str
    role: Literal["ROLE_USER", "ROLE_AGENT"]
    content: list[Part]
    context_id: str | None = None
    task_id: str | None = None
    metadata: Metadata = None
    extensions: list[str] | None = None


class Artifact(_Value, frozen=True):
    """What a task produced."""

    artifact_id: str
    parts: list[Part]
    name: str | None = None
    description: str | None = None
    metadata: Metadata = None
    extensions: list[str] | None = None


class Status(_Value, frozen=True):
    """``TaskStatus``."""

    state: str
    message: Message | None = None
    timestamp: str | None = None


class Task(_Value, frozen=True):
    """A task."""

    id: str
    context_id: str
    status: Status
    artifacts: list[Artifact] = []
    history: list[Message] = []
    metadata: Metadata = None


class StatusUpdate(_Value, frozen=True):
    """``TaskStatusUpdateEvent``."""

    task_id: str
    context_id: str
    status: Status
    final: bool = False
    metadata: Metadata = None


class ArtifactUpdate(_Value, frozen=True):
    """``TaskArtifactUpdateEvent``."""

    task_id: str
    context_id: str
    artifact: Artifact
    append: bool = False
    last_chunk: bool = False
    metadata: Metadata = None


class Authentication(_Value, frozen=True):
    """``AuthenticationInfo``."""

    schemes: list[str] = []
    credentials: str | None = None


class PushConfig(_Value, frozen=True):
    """``PushNotificationConfig``, read and written."""

    url: str
    id: str | None = None
    token: str | None = None
    authentication: Authentication | None = None


class TaskPushConfig(_Value, frozen=True):
    """``TaskPushNotificationConfig``, read and written; the name says of which task it is."""

    push_notification_config: PushConfig
    name: str = ""


class CreatePushConfig(_Value, frozen=True):
    """``CreateTaskPushNotificationConfigRequest``."""

    config: TaskPushConfig
    parent: str = ""
    config_id: str = ""


class PushConfigs(_Value, frozen=True):
    """``ListTaskPushNotificationConfigResponse``."""

    configs: list[TaskPushConfig] = []
    next_page_token: str = ""


class Configuration(_Value, frozen=True):
    """``SendMessageConfiguration``."""

    accepted_output_modes: list[str] | None = None
    push_notification: PushConfig | None = None
    history_length: int | None = None
    blocking: bool | None = None


class SendParams(_Value, frozen=True):
    """``SendMessageRequest``: the field ``request`` is called ``message`` in JSON."""

    message: Message | None = None
    request: Message | None = None
    configuration: Configuration | None = None
    metadata: Metadata = None
