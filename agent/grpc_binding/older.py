"""A2A 0.3 over gRPC: its Protocol Buffers file names tasks and configurations as resources."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

import msgspec

from agent.card_security import requirements_1_0, schemes_1_0
from agent.dialects.read import not_negative, read
from agent.dialects.v0_3_proto import Dialect03Proto
from agent.errors import InvalidParams
from agent.model import GetRequest, PushConfig, PushConfigRequest, PushConfigsRequest, TaskRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

_TASK = re.compile(r"tasks/([^/]+)")
# The file's own pattern for the parent has what comes below it at the end.
_PARENT = re.compile(r"tasks/([^/]+)(?:/pushNotificationConfigs)?")
_CONFIG = re.compile(r"tasks/([^/]+)/pushNotificationConfigs/([^/]+)")


class _Named(msgspec.Struct, frozen=True, rename="camel"):
    """A request for what ``name`` names; ProtoJSON leaves out what is empty."""

    name: str = ""
    history_length: int | None = None


class _Listed(msgspec.Struct, frozen=True, rename="camel"):
    """``ListTaskPushNotificationConfigRequest``."""

    parent: str = ""
    page_size: int | None = None
    page_token: str = ""


_named = msgspec.json.Decoder(_Named)
_listed = msgspec.json.Decoder(_Listed)


class Dialect03Grpc(Dialect03Proto):
    """A2A 0.3 in ProtoJSON, with the requests of its gRPC service."""

    methods: ClassVar[Mapping[str, str]] = {
        "SendMessage": "send",
        "SendStreamingMessage": "stream",
        "GetTask": "get",
        "CancelTask": "cancel",
        "TaskSubscription": "subscribe",
        "CreateTaskPushNotificationConfig": "create_push_config",
        "GetTaskPushNotificationConfig": "get_push_config",
        "ListTaskPushNotificationConfig": "list_push_configs",
        "DeleteTaskPushNotificationConfig": "delete_push_config",
        "GetAgentCard": "extended_card",
    }

    def read_get(self, params: bytes) -> GetRequest:
        """Read ``GetTaskRequest``; a ``historyLength`` of 0 is the same as none in this file."""
        asked = read(_named, params)
        length = not_negative(asked.history_length, "historyLength")
        return GetRequest(_task(asked.name), history_length=length or None)

    def read_task(self, params: bytes) -> TaskRequest:
        """Read ``CancelTaskRequest`` or ``TaskSubscriptionRequest``."""
        return TaskRequest(_task(read(_named, params).name))

    def read_push_config(self, params: bytes) -> PushConfig:
        """Read ``CreateTaskPushNotificationConfigRequest``."""
        config = super().read_push_config(params)
        return msgspec.structs.replace(config, task_id=_parent(read(_listed, params).parent))

    def read_push_config_id(self, params: bytes) -> PushConfigRequest:
        """Read the request to get or delete a configuration."""
        named = _CONFIG.fullmatch(read(_named, params).name)
        if named is None:
            raise InvalidParams("name", "must be tasks/{id}/pushNotificationConfigs/{id}")
        return PushConfigRequest(named[1], named[2])

    def read_push_configs(self, params: bytes) -> PushConfigsRequest:
        """Read ``ListTaskPushNotificationConfigRequest``."""
        asked = read(_listed, params)
        return PushConfigsRequest(
            _parent(asked.parent),
            page_size=not_negative(asked.page_size, "pageSize") or 0,
            page_token=asked.page_token,
        )

    def card(self, card: bytes) -> bytes:
        """Write an ``AgentCard``, whose security the file has as 1.0 has it."""
        written = msgspec.json.decode(card)
        schemes = written.pop("securitySchemes", {})
        written |= {"securitySchemes": schemes_1_0(schemes), "security": requirements_1_0(schemes)}
        return msgspec.json.encode(written)


def _task(name: str) -> str:
    named = _TASK.fullmatch(name)
    if named is None:
        raise InvalidParams("name", "must be tasks/{id}")
    return named[1]


def _parent(name: str) -> str:
    named = _PARENT.fullmatch(name)
    if named is None:
        raise InvalidParams("parent", "must be tasks/{id}")
    return named[1]
