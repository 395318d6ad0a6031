"""The types of A2A 0.3 as they stand on the wire (``kind`` discriminators)."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec resolves the annotations of fields
from typing import Literal

import msgspec

from agent.model import Json, Metadata


class _Value(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, tag_field="kind"):
    """Optional fields are None when absent; None and empty lists are never encoded."""


class TextPart(_Value, frozen=True, tag="text"):
    """Text."""

    text: str
    metadata: Metadata = None


class File(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """``bytes`` (base64) or ``uri``."""

    name: str | None = None
    mime_type: str | None = None
    bytes: str | None = None
    uri: str | None = None


class FilePart(_Value, frozen=True, tag="file"):
    """A file."""

    file: File
    metadata: Metadata = None


class DataPart(_Value, frozen=True, tag="data"):
    """A JSON object."""

    data: dict[str, Json]
    metadata: Metadata = None


type Part = TextPart | FilePart | DataPart


class Message(_Value, frozen=True, tag="message"):
    """One message."""

    message_id: str
    role: Literal["user", "agent"]
    parts: list[Part]
    context_id: str | None = None
    task_id: str | None = None
    metadata: Metadata = None
    extensions: list[str] | None = None
    reference_task_ids: list[str] | None = None


class Artifact(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a task produced."""

    artifact_id: str
    parts: list[Part]
    name: str | None = None
    description: str | None = None
    metadata: Metadata = None
    extensions: list[str] | None = None


class Status(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """``state`` is lower-case."""

    state: str
    message: Message | None = None
    timestamp: str | None = None


class Task(_Value, frozen=True, tag="task"):
    """A task."""

    id: str
    context_id: str
    status: Status
    artifacts: list[Artifact] = []
    history: list[Message] = []
    metadata: Metadata = None


class StatusUpdate(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """``final`` is required by the schema, so it has no default to be left out."""

    task_id: str
    context_id: str
    status: Status
    final: bool
    kind: Literal["status-update"]
    metadata: Metadata = None


class ArtifactUpdate(_Value, frozen=True, tag="artifact-update"):
    """A piece of an artifact."""

    task_id: str
    context_id: str
    artifact: Artifact
    append: bool = False
    last_chunk: bool = False
    metadata: Metadata = None


class Authentication(msgspec.Struct, frozen=True, omit_defaults=True):
    """``PushNotificationAuthenticationInfo``."""

    schemes: list[str]
    credentials: str | None = None


class PushConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """``PushNotificationConfig``, read and written."""

    url: str
    id: str | None = None
    token: str | None = None
    authentication: Authentication | None = None


class TaskPushConfig(msgspec.Struct, frozen=True, rename="camel"):
    """``TaskPushNotificationConfig``, read and written."""

    task_id: str
    push_notification_config: PushConfig


class Configuration(msgspec.Struct, frozen=True, rename="camel"):
    """``MessageSendConfiguration``."""

    accepted_output_modes: list[str] | None = None
    blocking: bool | None = None
    history_length: int | None = None
    push_notification_config: PushConfig | None = None


class SendParams(msgspec.Struct, frozen=True, rename="camel"):
    """``MessageSendParams``."""

    message: Message
    configuration: Configuration | None = None
    metadata: Metadata = None


class GetParams(msgspec.Struct, frozen=True, rename="camel"):
    """``TaskQueryParams``."""

    id: str
    history_length: int | None = None
    metadata: Metadata = None


class TaskParams(msgspec.Struct, frozen=True, rename="camel"):
    """``TaskIdParams``, also with the id of a push notification configuration."""

    id: str
    push_notification_config_id: str | None = None
    metadata: Metadata = None


class ListParams(msgspec.Struct, frozen=True, rename="camel"):
    """What 1.0 filters by, for the ``tasks/list`` that 0.3 has on HTTP+JSON without parameters."""

    context_id: str | None = None
    status: str | None = None
    page_size: int | None = None
    page_token: str | None = None
    history_length: int | None = None
    last_updated_after: datetime | None = None
    include_artifacts: bool | None = None
    metadata: Metadata = None


class ListedTask(_Value, frozen=True, tag="task"):
    """A task of which the artifacts were asked for: their list stands there even when it is empty."""

    id: str
    context_id: str
    status: Status
    artifacts: list[Artifact]
    history: list[Message] = []
    metadata: Metadata = None
