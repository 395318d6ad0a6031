"""A2A 1.0 on the wire (ProtoJSON): the stored form, so encoding is what msgspec does by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec

from agent.dialects import v1_0_wire as wire
from agent.dialects.errors import error_reason
from agent.dialects.read import milliseconds, not_negative, page_size, read
from agent.errors import InvalidParams
from agent.model import (
    ArtifactUpdate,
    Event,
    GetRequest,
    Json,
    ListRequest,
    Message,
    PushAuthentication,
    PushConfig,
    PushConfigPage,
    PushConfigRequest,
    PushConfigsRequest,
    SendRequest,
    StatusUpdate,
    Task,
    TaskPage,
    TaskRequest,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.errors import AgentError

VERSION = "1.0"

_encode = msgspec.json.Encoder().encode


_send_decoder = msgspec.json.Decoder(wire.SendParams)
_get_decoder = msgspec.json.Decoder(wire.GetParams)
_task_decoder = msgspec.json.Decoder(wire.TaskParams)
_list_decoder = msgspec.json.Decoder(wire.ListParams)
_push_config_decoder = msgspec.json.Decoder(wire.PushConfig)
_push_config_id_decoder = msgspec.json.Decoder(wire.PushConfigParams)
_push_configs_decoder = msgspec.json.Decoder(wire.PushConfigsParams)
_tenant_decoder = msgspec.json.Decoder(wire.TenantParams)


class Dialect1:
    """A2A 1.0."""

    version = VERSION
    methods: ClassVar[Mapping[str, str]] = {
        "SendMessage": "send",
        "SendStreamingMessage": "stream",
        "GetTask": "get",
        "ListTasks": "list",
        "CancelTask": "cancel",
        "SubscribeToTask": "subscribe",
        "CreateTaskPushNotificationConfig": "create_push_config",
        "GetTaskPushNotificationConfig": "get_push_config",
        "ListTaskPushNotificationConfigs": "list_push_configs",
        "DeleteTaskPushNotificationConfig": "delete_push_config",
        "GetExtendedAgentCard": "extended_card",
    }

    def read_send(self, params: bytes) -> SendRequest:
        """Read ``SendMessageRequest`` (section 3.1.1)."""
        asked = read(_send_decoder, params)
        configuration = asked.configuration or wire.Configuration()
        push = configuration.task_push_notification_config
        return SendRequest(
            message=asked.message,
            tenant=asked.tenant or "",
            accepted_output_modes=tuple(configuration.accepted_output_modes or ()),
            history_length=not_negative(
                configuration.history_length, "configuration.historyLength"
            ),
            return_immediately=bool(configuration.return_immediately),
            push_config=None if push is None else _push_config(push),
            metadata=asked.metadata,
        )

    def read_get(self, params: bytes) -> GetRequest:
        """Read ``GetTaskRequest`` (section 3.1.3)."""
        asked = read(_get_decoder, params)
        return GetRequest(
            id=asked.id,
            tenant=asked.tenant or "",
            history_length=not_negative(asked.history_length, "historyLength"),
        )

    def read_list(self, params: bytes) -> ListRequest:
        """Read ``ListTasksRequest`` (section 3.1.4)."""
        asked = read(_list_decoder, params)
        return ListRequest(
            tenant=asked.tenant or "",
            context_id=asked.context_id or "",
            status=asked.status,
            page_size=page_size(asked.page_size),
            page_token=asked.page_token or "",
            history_length=not_negative(asked.history_length, "historyLength"),
            updated_after=milliseconds(asked.status_timestamp_after or asked.last_updated_after),
            include_artifacts=bool(asked.include_artifacts),
        )

    def read_task(self, params: bytes) -> TaskRequest:
        """Read ``CancelTaskRequest`` or ``SubscribeToTaskRequest`` (sections 3.1.5, 3.1.6)."""
        asked = read(_task_decoder, params)
        return TaskRequest(asked.id, asked.tenant or "")

    def read_push_config(self, params: bytes) -> PushConfig:
        """Read ``TaskPushNotificationConfig`` (section 3.1.7)."""
        config = _push_config(read(_push_config_decoder, params))
        if not config.task_id:
            raise InvalidParams("taskId", "is required")
        return config

    def read_push_config_id(self, params: bytes) -> PushConfigRequest:
        """Read the request to get or delete a configuration (sections 3.1.8, 3.1.10)."""
        asked = read(_push_config_id_decoder, params)
        return PushConfigRequest(asked.task_id, asked.id, asked.tenant or "")

    def read_push_configs(self, params: bytes) -> PushConfigsRequest:
        """Read ``ListTaskPushNotificationConfigsRequest`` (section 3.1.9)."""
        asked = read(_push_configs_decoder, params)
        return PushConfigsRequest(
            task_id=asked.task_id,
            tenant=asked.tenant or "",
            page_size=not_negative(asked.page_size, "pageSize") or 0,
            page_token=asked.page_token or "",
        )

    def read_tenant(self, params: bytes) -> str:
        """Read ``GetExtendedAgentCardRequest`` (section 3.1.11)."""
        return read(_tenant_decoder, params).tenant or ""

    def event(self, event: Event) -> bytes:
        """Write a ``StreamResponse``, which is also what ``SendMessage`` answers."""
        return wrap(event)

    def task(self, task: Task) -> bytes:
        """Write a ``Task``."""
        return _encode(task)

    def page(self, page: TaskPage, *, with_artifacts: bool) -> bytes:
        """Write ``ListTasksResponse``."""
        tasks = [_listed(task) for task in page.tasks] if with_artifacts else page.tasks
        return _encode(
            {
                "tasks": tasks,
                "nextPageToken": page.next_page_token,
                "pageSize": page.page_size,
                "totalSize": page.total_size,
            }
        )

    def push_config(self, config: PushConfig) -> bytes:
        """Write ``TaskPushNotificationConfig``."""
        return _encode(_wire_push_config(config))

    def push_configs(self, page: PushConfigPage) -> bytes:
        """Write ``ListTaskPushNotificationConfigsResponse``."""
        configs = [_wire_push_config(config) for config in page.configs]
        return _encode(wire.PushConfigs(configs, page.next_page_token))

    def deleted(self) -> bytes:
        """Write ``google.protobuf.Empty``."""
        return b"{}"

    def card(self, card: bytes) -> bytes:
        """Write an ``AgentCard``."""
        return card

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


def _push_config(config: wire.PushConfig) -> PushConfig:
    given = config.authentication
    return PushConfig(
        url=config.url,
        version=VERSION,
        id=config.id or "",
        task_id=config.task_id or "",
        tenant=config.tenant or "",
        token=config.token,
        authentication=None
        if given is None
        else PushAuthentication((given.scheme,), given.credentials),
    )


def _wire_push_config(config: PushConfig) -> wire.PushConfig:
    given = config.authentication
    # 1.0 knows one scheme where 0.3 has a list.
    scheme = given.schemes[0] if given and given.schemes else ""
    return wire.PushConfig(
        url=config.url,
        tenant=config.tenant or None,
        id=config.id,
        task_id=config.task_id,
        token=config.token,
        authentication=None if given is None else wire.Authentication(scheme, given.credentials),
    )


def _listed(task: Task) -> wire.ListedTask:
    return wire.ListedTask(
        task.id, task.context_id, task.status, task.artifacts, task.history, task.metadata
    )
