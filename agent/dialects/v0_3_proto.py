"""A2A 0.3 on the wire as its Protocol Buffers file has it: ``content``, ``ROLE_USER``, ``TASK_STATE_..``.

The SDKs of 0.3 speak it over HTTP+JSON, while the specification's text has the JSON of ``v0_3`` there.
"""

from __future__ import annotations

import msgspec

from agent.dialects import v0_3_proto_values as values
from agent.dialects import v0_3_proto_wire as wire
from agent.dialects.read import not_negative, read
from agent.dialects.v0_3 import Dialect03
from agent.dialects.v0_3_proto_values import CONFIGS, STATES, TASKS
from agent.errors import InvalidParams
from agent.model import (
    ArtifactUpdate,
    Event,
    ListRequest,
    PushConfig,
    PushConfigPage,
    SendRequest,
    StatusUpdate,
    Task,
    TaskPage,
)

_encode = msgspec.json.Encoder().encode
_send_decoder = msgspec.json.Decoder(wire.SendParams)
_push_config_decoder = msgspec.json.Decoder(wire.CreatePushConfig)
_status_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text_decoder = msgspec.json.Decoder(str)
_OLDER_NAMES = {name: state.name.lower().replace("_", "-") for state, name in STATES.items()}


class Dialect03Proto(Dialect03):
    """A2A 0.3 in ProtoJSON. Parameters that the path or the query holds are read as in ``Dialect03``."""

    version = "0.3 proto"

    def read_send(self, params: bytes) -> SendRequest:
        """Read ``SendMessageRequest``.

        A configuration without ``blocking`` does not block, since ProtoJSON leaves false out; neither
        does a ``historyLength`` of 0 limit anything, as the file says.
        """
        asked = read(_send_decoder, params)
        message = asked.message or asked.request
        if message is None:
            raise InvalidParams("message", "is required")
        configuration = asked.configuration or wire.Configuration(blocking=True)
        push = configuration.push_notification
        length = not_negative(configuration.history_length, "configuration.historyLength")
        return SendRequest(
            message=values.read_message(message),
            accepted_output_modes=tuple(configuration.accepted_output_modes or ()),
            history_length=length or None,
            return_immediately=not configuration.blocking,
            push_config=None if push is None else values.read_push_config("", push),
            metadata=asked.metadata,
        )

    def read_list(self, params: bytes) -> ListRequest:
        """Read the filters of 1.0, with the file's names of states."""
        given = read(_status_decoder, params)
        status = given.get("status")
        if status is not None:
            older = _OLDER_NAMES.get(read(_text_decoder, bytes(status)))
            if older is None:
                raise InvalidParams("status", "has a value that is not allowed")
            params = _encode(given | {"status": msgspec.Raw(_encode(older))})
        return super().read_list(params)

    def read_push_config(self, params: bytes) -> PushConfig:
        """Read ``CreateTaskPushNotificationConfigRequest``."""
        asked = read(_push_config_decoder, params)
        config = asked.config.push_notification_config
        config_id = asked.config_id or config.id or asked.config.name.partition(CONFIGS)[2]
        return values.read_push_config(asked.parent.removeprefix(TASKS), config, config_id)

    def event(self, event: Event) -> bytes:
        """Write a ``StreamResponse``, which is also what ``SendMessage`` answers."""
        if isinstance(event, ArtifactUpdate):
            return b'{"artifactUpdate":' + _encode(values.write_artifact_update(event)) + b"}"
        if isinstance(event, StatusUpdate):
            return b'{"statusUpdate":' + _encode(values.write_status_update(event)) + b"}"
        if isinstance(event, Task):
            return b'{"task":' + _encode(values.write_task(event)) + b"}"
        return b'{"message":' + _encode(values.write_message(event)) + b"}"

    def task(self, task: Task) -> bytes:
        """Write a ``Task``."""
        return _encode(values.write_task(task))

    def page(self, page: TaskPage, *, with_artifacts: bool) -> bytes:  # noqa: ARG002 - ProtoJSON leaves an empty list out
        """Write tasks in 1.0's envelope: the file has no list of tasks."""
        return _encode(
            {
                "tasks": [values.write_task(task) for task in page.tasks],
                "nextPageToken": page.next_page_token,
                "pageSize": page.page_size,
                "totalSize": page.total_size,
            }
        )

    def push_config(self, config: PushConfig) -> bytes:
        """Write ``TaskPushNotificationConfig``."""
        return _encode(values.write_push_config(config))

    def push_configs(self, page: PushConfigPage) -> bytes:
        """Write ``ListTaskPushNotificationConfigResponse``."""
        configs = [values.write_push_config(config) for config in page.configs]
        return _encode(wire.PushConfigs(configs, page.next_page_token))

    def deleted(self) -> bytes:
        """Write ``google.protobuf.Empty``."""
        return b"{}"
