"""A2A 1.0 as a client writes and reads it: the JSON of the proto, whatever carries it."""

from __future__ import annotations

from typing import TYPE_CHECKING, override

from a2a.types import a2a_pb2 as proto
from google.protobuf.json_format import ParseDict

from tests.conformance._requirements.row import GRPC, HTTP_JSON, JSON_RPC
from tests.conformance.shapes import check_presence, present, without_media_type_of_data
from tests.conformance.wire import Wire

if TYPE_CHECKING:
    from tests.conformance.wire import Json

_RPC = "type.googleapis.com/google.rpc."
DOMAIN = "a2a-protocol.org"


class Wire10(Wire):
    """A2A 1.0."""

    version = "1.0"
    headers = {"A2A-Version": "1.0"}  # noqa: RUF012 - nobody changes it
    methods = {  # noqa: RUF012 - nobody changes it
        "send": "SendMessage",
        "stream": "SendStreamingMessage",
        "get": "GetTask",
        "list": "ListTasks",
        "cancel": "CancelTask",
        "subscribe": "SubscribeToTask",
        "create_push": "CreateTaskPushNotificationConfig",
        "get_push": "GetTaskPushNotificationConfig",
        "list_push": "ListTaskPushNotificationConfigs",
        "delete_push": "DeleteTaskPushNotificationConfig",
        "extended_card": "GetExtendedAgentCard",
    }

    def __init__(self, binding: str) -> None:
        self.binding = binding

    @override
    def text(self, text: str) -> Json:
        return {"text": text}

    @override
    def data(self, data: Json) -> Json:
        return {"data": data}

    @override
    def raw(self, content: str, name: str, media_type: str) -> Json:
        return {"raw": content, "filename": name, "mediaType": media_type}

    @override
    def url(self, url: str, name: str, media_type: str) -> Json:
        return {"url": url, "filename": name, "mediaType": media_type}

    @override
    def role(self, name: str) -> str:
        return f"ROLE_{name.upper()}"

    @override
    def state(self, name: str) -> str:
        return f"TASK_STATE_{name}"

    @override
    def configuration(
        self,
        *,
        modes: list[str] | None = None,
        history: int | None = None,
        at_once: bool | None = None,
        push: Json = None,
    ) -> Json:
        return present(
            acceptedOutputModes=modes,
            historyLength=history,
            returnImmediately=at_once,
            taskPushNotificationConfig=push,
        )

    @override
    def push_config(
        self,
        url: str,
        *,
        config_id: str | None = None,
        token: str | None = None,
        bearer: str | None = None,
    ) -> Json:
        authentication = bearer and {"scheme": "Bearer", "credentials": bearer}
        return present(url=url, id=config_id, token=token, authentication=authentication)

    @override
    def push_params(self, task_id: str, config: Json) -> Json:
        return {"taskId": task_id} | config

    @override
    def push_id_params(self, task_id: str, config_id: str) -> Json:
        return {"taskId": task_id, "id": config_id}

    @override
    def push_task_params(self, task_id: str) -> Json:
        return {"taskId": task_id}

    @override
    def read_push_config(self, config: Json) -> Json:
        ParseDict(config, proto.TaskPushNotificationConfig())
        check_presence("", config)
        assert {"taskId", "id", "url"} <= config.keys()
        return config

    @override
    def read_push_configs(self, answer: Json) -> list[Json]:
        ParseDict(answer, proto.ListTaskPushNotificationConfigsResponse())
        return [self.read_push_config(config) for config in answer.get("configs", [])]

    @override
    def read_deleted(self, answer: Json) -> None:
        assert answer == {}

    @override
    def read_page(self, page: Json) -> Json:
        ParseDict(page, proto.ListTasksResponse())
        assert page.keys() == {"tasks", "nextPageToken", "pageSize", "totalSize"}
        # Of what was asked for, a list of artifacts may be empty.
        for task in page["tasks"]:
            self.read_task({name: value for name, value in task.items() if value != []})
        return without_media_type_of_data(page)

    @override
    def read_task(self, task: Json) -> Json:
        ParseDict(task, proto.Task())
        check_presence("task", task)
        return without_media_type_of_data(task)

    @override
    def read_event(self, event: Json) -> Json:
        ParseDict(event, proto.StreamResponse())
        assert len(event) == 1
        check_presence("", event)
        return without_media_type_of_data(event)

    @override
    def read_card(self, card: Json) -> Json:
        assert ParseDict(card, proto.AgentCard()).supported_interfaces
        return card

    @override
    def check_error_data(self, code: int, data: Json) -> None:
        check_details(code, data)


def check_details(code: int, data: Json) -> None:
    """Hold the details of an error against 1.0 sections 9.5, 10.6 and 11.6."""
    assert isinstance(data, list)
    by_kind = {detail["@type"].removeprefix(_RPC): detail for detail in data}
    assert len(by_kind) == len(data) > 0
    assert by_kind.keys() <= {"ErrorInfo", "BadRequest", "RequestInfo", "RetryInfo"}
    if "BadRequest" in by_kind:
        assert code == -32602
        (violation,) = by_kind["BadRequest"]["fieldViolations"]
        assert violation.keys() == {"field", "description"}
    elif code == -32603:
        assert by_kind["RequestInfo"]["requestId"]
    else:
        assert "ErrorInfo" in by_kind
    if info := by_kind.get("ErrorInfo"):
        assert info["domain"] == DOMAIN
        assert info["reason"].replace("_", "").isupper()


V1_0: Wire = Wire10(JSON_RPC)
HTTP_1_0: Wire = Wire10(HTTP_JSON)
GRPC_1_0: Wire = Wire10(GRPC)
