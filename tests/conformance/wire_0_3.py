"""A2A 0.3 as a client writes and reads it: the objects of the JSON schema, whatever carries them."""

from __future__ import annotations

from typing import TYPE_CHECKING, override

from a2a.compat.v0_3 import types
from pydantic import TypeAdapter

from tests.conformance._requirements.row import HTTP_JSON, JSON_RPC
from tests.conformance.shapes import check_presence, in_words_of_1_0, present, schema_of_0_3
from tests.conformance.wire import Wire
from tests.conformance.wire_1_0 import check_details

if TYPE_CHECKING:
    from tests.conformance.wire import Json

_KINDS = {
    "task": ("Task", "task"),
    "message": ("Message", "message"),
    "status-update": ("TaskStatusUpdateEvent", "statusUpdate"),
    "artifact-update": ("TaskArtifactUpdateEvent", "artifactUpdate"),
}


class Wire03(Wire):
    """A2A 0.3; on HTTP+JSON answers and events stand under the name of what they are."""

    version = "0.3"
    headers: dict[str, str] = {}  # noqa: RUF012 - nobody changes it
    methods = {  # noqa: RUF012 - nobody changes it
        "send": "message/send",
        "stream": "message/stream",
        "get": "tasks/get",
        "list": "tasks/list",
        "cancel": "tasks/cancel",
        "subscribe": "tasks/resubscribe",
        "create_push": "tasks/pushNotificationConfig/set",
        "get_push": "tasks/pushNotificationConfig/get",
        "list_push": "tasks/pushNotificationConfig/list",
        "delete_push": "tasks/pushNotificationConfig/delete",
        "extended_card": "agent/getAuthenticatedExtendedCard",
    }

    def __init__(self, binding: str) -> None:
        self.binding = binding

    @override
    def text(self, text: str) -> Json:
        return {"kind": "text", "text": text}

    @override
    def data(self, data: Json) -> Json:
        return {"kind": "data", "data": data}

    @override
    def raw(self, content: str, name: str, media_type: str) -> Json:
        return {"kind": "file", "file": {"bytes": content, "name": name, "mimeType": media_type}}

    @override
    def url(self, url: str, name: str, media_type: str) -> Json:
        return {"kind": "file", "file": {"uri": url, "name": name, "mimeType": media_type}}

    @override
    def role(self, name: str) -> str:
        return name

    @override
    def state(self, name: str) -> str:
        return name.lower().replace("_", "-")

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
            blocking=None if at_once is None else not at_once,
            pushNotificationConfig=push,
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
        authentication = bearer and {"schemes": ["Bearer"], "credentials": bearer}
        return present(url=url, id=config_id, token=token, authentication=authentication)

    @override
    def push_params(self, task_id: str, config: Json) -> Json:
        return {"taskId": task_id, "pushNotificationConfig": config}

    @override
    def push_id_params(self, task_id: str, config_id: str) -> Json:
        return {"id": task_id, "pushNotificationConfigId": config_id}

    @override
    def push_task_params(self, task_id: str) -> Json:
        return {"id": task_id}

    @override
    def read_push_config(self, config: Json) -> Json:
        _check("TaskPushNotificationConfig", config)
        given = dict(config["pushNotificationConfig"])
        assert given["id"]
        if authentication := given.pop("authentication", None):
            (scheme,) = authentication.pop("schemes")
            given["authentication"] = {"scheme": scheme} | authentication
        return {"taskId": config["taskId"]} | given

    @override
    def read_push_configs(self, answer: Json) -> list[Json]:
        assert isinstance(answer, list)
        return [self.read_push_config(config) for config in answer]

    @override
    def read_deleted(self, answer: Json) -> None:
        assert answer == ({} if self.binding == HTTP_JSON else None)

    @override
    def read_page(self, page: Json) -> Json:
        if self.binding == HTTP_JSON:
            assert isinstance(page, list)
            page = {"tasks": page}
        # Of what was asked for, a list of artifacts may be empty.
        for task in page["tasks"]:
            self.read_task({name: value for name, value in task.items() if value != []})
        return page | {"tasks": [in_words_of_1_0(task) for task in page["tasks"]]}

    @override
    def read_task(self, task: Json) -> Json:
        assert task["kind"] == "task"
        return _read(task)["task"]

    @override
    def read_event(self, event: Json) -> Json:
        if self.binding == HTTP_JSON:
            ((name, event),) = event.items()
            assert _KINDS[event["kind"]][1] == name
        return _read(event)

    @override
    def read_card(self, card: Json) -> Json:
        _check("AgentCard", card)
        return card

    @override
    def check_error_data(self, code: int, data: Json) -> None:
        if self.binding == HTTP_JSON:
            check_details(code, data)
        elif code == -32602 and "reason" not in data:
            assert data.keys() == {"field", "problem"}
        elif code == -32603:
            assert data.keys() == {"requestId"}
        else:
            assert data["reason"].replace("_", "").isupper()


def _read(event: Json) -> Json:
    name, member = _KINDS[event["kind"]]
    _check(name, event)
    said = {member: in_words_of_1_0(event)}
    check_presence("", said)
    return said


def _check(name: str, value: Json) -> None:
    TypeAdapter(getattr(types, name)).validate_python(value)
    if (schema := schema_of_0_3(name)) is not None:
        schema.validate(value)


V0_3: Wire = Wire03(JSON_RPC)
HTTP_0_3: Wire = Wire03(HTTP_JSON)
