"""The types of A2A 0.3 as they stand on the wire (``kind`` discriminators)."""

from __future__ import annotations

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


class Configuration(msgspec.Struct, frozen=True, rename="camel"):
    """``MessageSendConfiguration``."""

    accepted_output_modes: list[str] | None = None
    blocking: bool | None = None
    history_length: int | None = None
    push_notification_config: Json = None


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
