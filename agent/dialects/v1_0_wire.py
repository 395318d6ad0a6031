"""The parameters and answers of A2A 1.0 that differ from what the server thinks in."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec resolves the annotations of fields

import msgspec

from agent.model import (  # noqa: TC001 - msgspec resolves the annotations of fields
    Artifact,
    Message,
    Metadata,
    TaskState,
    TaskStatus,
)


class _Params(msgspec.Struct, frozen=True, rename="camel"):
    """What is absent or null is None; unknown members are ignored."""


class Authentication(msgspec.Struct, frozen=True, omit_defaults=True):
    """``AuthenticationInfo``."""

    scheme: str
    credentials: str | None = None


class PushConfig(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """``TaskPushNotificationConfig``, read and written."""

    url: str
    tenant: str | None = None
    id: str | None = None
    task_id: str | None = None
    token: str | None = None
    authentication: Authentication | None = None


class PushConfigs(msgspec.Struct, frozen=True, rename="camel"):
    """``ListTaskPushNotificationConfigsResponse``."""

    configs: list[PushConfig]
    next_page_token: str


class Configuration(_Params, frozen=True):
    """``SendMessageConfiguration``."""

    accepted_output_modes: list[str] | None = None
    history_length: int | None = None
    return_immediately: bool | None = None
    task_push_notification_config: PushConfig | None = None


class SendParams(_Params, frozen=True):
    """``SendMessageRequest``."""

    message: Message
    configuration: Configuration | None = None
    tenant: str | None = None
    metadata: Metadata = None


class GetParams(_Params, frozen=True):
    """``GetTaskRequest``."""

    id: str
    tenant: str | None = None
    history_length: int | None = None


class TaskParams(_Params, frozen=True):
    """``CancelTaskRequest`` and ``SubscribeToTaskRequest``."""

    id: str
    tenant: str | None = None
    metadata: Metadata = None


class ListParams(_Params, frozen=True):
    """``ListTasksRequest``; ``lastUpdatedAfter`` is what drafts of 1.0 called the filter by time."""

    tenant: str | None = None
    context_id: str | None = None
    status: TaskState | None = None
    page_size: int | None = None
    page_token: str | None = None
    history_length: int | None = None
    status_timestamp_after: datetime | None = None
    last_updated_after: datetime | None = None
    include_artifacts: bool | None = None


class PushConfigParams(_Params, frozen=True):
    """``GetTaskPushNotificationConfigRequest``, and the same to delete."""

    task_id: str
    id: str
    tenant: str | None = None


class PushConfigsParams(_Params, frozen=True):
    """``ListTaskPushNotificationConfigsRequest``."""

    task_id: str
    tenant: str | None = None
    page_size: int | None = None
    page_token: str | None = None


class TenantParams(_Params, frozen=True):
    """``GetExtendedAgentCardRequest``."""

    tenant: str | None = None


class ListedTask(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A task of which the artifacts were asked for: their list stands there even when it is empty."""

    id: str
    context_id: str
    status: TaskStatus
    artifacts: list[Artifact]
    history: list[Message] = []
    metadata: Metadata = None
