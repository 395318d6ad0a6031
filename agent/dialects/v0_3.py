"""A2A 0.3 on the wire: ``kind``, lower-case states, ``final`` on the last status of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec

from agent.dialects import v0_3_values as values
from agent.dialects import v0_3_wire as wire
from agent.dialects.errors import error_reason
from agent.dialects.read import milliseconds, not_negative, page_size, read
from agent.dialects.v0_3_values import STATES, VERSION
from agent.errors import InvalidParams
from agent.model import (
    ArtifactUpdate,
    Event,
    GetRequest,
    Json,
    ListRequest,
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

_encode = msgspec.json.Encoder().encode
_BY_NAME = {name: state for state, name in STATES.items()}

_send_decoder = msgspec.json.Decoder(wire.SendParams)
_get_decoder = msgspec.json.Decoder(wire.GetParams)
_list_decoder = msgspec.json.Decoder(wire.ListParams)
_task_decoder = msgspec.json.Decoder(wire.TaskParams)
_push_config_decoder = msgspec.json.Decoder(wire.TaskPushConfig)


class Dialect03:
    """A2A 0.3."""

    version = VERSION
    methods: ClassVar[Mapping[str, str]] = {
        "message/send": "send",
        "message/stream": "stream",
        "tasks/get": "get",
        "tasks/list": "list",
        "tasks/cancel": "cancel",
        "tasks/resubscribe": "subscribe",
        "tasks/pushNotificationConfig/set": "create_push_config",
        "tasks/pushNotificationConfig/get": "get_push_config",
        "tasks/pushNotificationConfig/list": "list_push_configs",
        "tasks/pushNotificationConfig/delete": "delete_push_config",
        "agent/getAuthenticatedExtendedCard": "extended_card",
    }

    def read_send(self, params: bytes) -> SendRequest:
        """Read ``MessageSendParams`` (0.3 section 7.1.1). ``blocking`` counts as true when absent."""
        asked = read(_send_decoder, params)
        configuration = asked.configuration or wire.Configuration()
        push = configuration.push_notification_config
        return SendRequest(
            message=values.read_message(asked.message),
            accepted_output_modes=tuple(configuration.accepted_output_modes or ()),
            history_length=not_negative(
                configuration.history_length, "configuration.historyLength"
            ),
            return_immediately=configuration.blocking is False,
            push_config=None if push is None else values.read_push_config("", push),
            metadata=asked.metadata,
        )

    def read_get(self, params: bytes) -> GetRequest:
        """Read ``TaskQueryParams`` (0.3 section 7.3.1)."""
        asked = read(_get_decoder, params)
        return GetRequest(
            id=asked.id,
            history_length=not_negative(asked.history_length, "historyLength"),
        )

    def read_list(self, params: bytes) -> ListRequest:
        """Read ``tasks/list``, which 0.3 has without parameters: those of 1.0 are taken."""
        asked = read(_list_decoder, params)
        if asked.status is not None and asked.status not in _BY_NAME:
            raise InvalidParams("status", "has a value that is not allowed")
        return ListRequest(
            context_id=asked.context_id or "",
            status=None if asked.status is None else _BY_NAME[asked.status],
            page_size=page_size(asked.page_size),
            page_token=asked.page_token or "",
            history_length=not_negative(asked.history_length, "historyLength"),
            updated_after=milliseconds(asked.last_updated_after),
            include_artifacts=bool(asked.include_artifacts),
        )

    def read_task(self, params: bytes) -> TaskRequest:
        """Read ``TaskIdParams`` (0.3 section 7.4.1)."""
        return TaskRequest(read(_task_decoder, params).id)

    def read_push_config(self, params: bytes) -> PushConfig:
        """Read ``TaskPushNotificationConfig`` (0.3 section 7.5)."""
        asked = read(_push_config_decoder, params)
        return values.read_push_config(asked.task_id, asked.push_notification_config)

    def read_push_config_id(self, params: bytes) -> PushConfigRequest:
        """Read the request to get or delete a configuration (0.3 sections 7.6, 7.8)."""
        asked = read(_task_decoder, params)
        return PushConfigRequest(asked.id, asked.push_notification_config_id)

    def read_push_configs(self, params: bytes) -> PushConfigsRequest:
        """Read ``ListTaskPushNotificationConfigParams`` (0.3 section 7.7)."""
        return PushConfigsRequest(read(_task_decoder, params).id)

    def read_tenant(self, params: bytes) -> str:  # noqa: ARG002 - 0.3 has no tenants
        """Read the request for the extended card: it has no parameters."""
        return ""

    def event(self, event: Event) -> bytes:
        """Write a stream event, which is also what ``message/send`` answers."""
        if isinstance(event, ArtifactUpdate):
            return _encode(values.write_artifact_update(event))
        if isinstance(event, StatusUpdate):
            return _encode(values.write_status_update(event))
        if isinstance(event, Task):
            return _encode(values.write_task(event))
        return _encode(values.write_message(event))

    def task(self, task: Task) -> bytes:
        """Write a ``Task``."""
        return _encode(values.write_task(task))

    def page(self, page: TaskPage, *, with_artifacts: bool) -> bytes:
        """Write tasks in 1.0's envelope."""
        write = values.write_listed if with_artifacts else values.write_task
        return _encode(
            {
                "tasks": [write(task) for task in page.tasks],
                "nextPageToken": page.next_page_token,
                "pageSize": page.page_size,
                "totalSize": page.total_size,
            }
        )

    def push_config(self, config: PushConfig) -> bytes:
        """Write ``TaskPushNotificationConfig``."""
        return _encode(values.write_push_config(config))

    def push_configs(self, page: PushConfigPage) -> bytes:
        """Write a list of ``TaskPushNotificationConfig``."""
        return _encode([values.write_push_config(config) for config in page.configs])

    def deleted(self) -> bytes:
        """Write null."""
        return b"null"

    def card(self, card: bytes) -> bytes:
        """Write an ``AgentCard``."""
        return card

    def error_data(self, error: AgentError) -> dict[str, Json]:
        """Write the details of an error: free-form in 0.3."""
        if isinstance(error, InvalidParams):
            return {"field": error.field, "problem": error.problem}
        return {"reason": error_reason(error)}

    def request_data(self, request_id: str) -> dict[str, Json]:
        """Write the id that an internal error is logged under."""
        return {"requestId": request_id}
