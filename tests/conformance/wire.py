"""The two versions of A2A as a client writes and reads them, apart from the server's own code.

What is read is held against the published types of its version, then told in the words of 1.0, so
that one test can speak about both.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Protocol, override

import jsonschema
from a2a.compat.v0_3 import types as v0_3
from a2a.types import a2a_pb2 as v1_0
from google.protobuf.json_format import ParseDict
from pydantic import TypeAdapter

type Json = Any

SCHEMA = Path(__file__).parents[3] / "shared/spec/a2a/a2a-0.3.schema.json"
_MESSAGE = {"messageId", "role", "parts"}
_ARTIFACT = {"artifactId", "parts"}
# What the proto marks as required, by the name under which it stands.
_REQUIRED = {
    "task": {"id", "contextId", "status"},
    "status": {"state"},
    "message": _MESSAGE,
    "history": _MESSAGE,
    "artifact": _ARTIFACT,
    "artifacts": _ARTIFACT,
    "statusUpdate": {"taskId", "contextId", "status"},
    "artifactUpdate": {"taskId", "contextId", "artifact"},
}
_FREE = {"data", "metadata"}


class Wire(Protocol):
    """How one version says it."""

    version: str
    headers: dict[str, str]
    send: str
    stream: str
    get: str

    def text(self, text: str) -> Json:
        """Write a part of text."""

    def data(self, data: Json) -> Json:
        """Write a part of data."""

    def raw(self, content: str, name: str, media_type: str) -> Json:
        """Write a file whose content is base64."""

    def url(self, url: str, name: str, media_type: str) -> Json:
        """Write a file that lies somewhere else."""

    def role(self, name: str) -> str:
        """Write ``user`` or ``agent``."""

    def configuration(
        self,
        *,
        modes: list[str] | None = None,
        history: int | None = None,
        at_once: bool | None = None,
        push: Json = None,
    ) -> Json:
        """Write how to send; ``at_once`` does not wait for the task."""

    def read_task(self, task: Json) -> Json:
        """Hold a task against its type; returns it in the words of 1.0."""

    def read_event(self, event: Json) -> Json:
        """Hold what send answers, or an event, against its type; returns it as a 1.0 stream response."""

    def check_error_data(self, code: int, data: Json) -> None:
        """Hold the details of an error against what the version says of them."""


class Wire10(Wire):
    """A2A 1.0."""

    version = "1.0"
    headers = {"A2A-Version": "1.0"}  # noqa: RUF012 - nobody changes it
    send = "SendMessage"
    stream = "SendStreamingMessage"
    get = "GetTask"

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
    def configuration(
        self,
        *,
        modes: list[str] | None = None,
        history: int | None = None,
        at_once: bool | None = None,
        push: Json = None,
    ) -> Json:
        return _present(
            acceptedOutputModes=modes,
            historyLength=history,
            returnImmediately=at_once,
            taskPushNotificationConfig=push,
        )

    @override
    def read_task(self, task: Json) -> Json:
        ParseDict(task, v1_0.Task())
        _check_presence("task", task)
        return _without_media_type_of_data(task)

    @override
    def read_event(self, event: Json) -> Json:
        ParseDict(event, v1_0.StreamResponse())
        assert len(event) == 1
        _check_presence("", event)
        return _without_media_type_of_data(event)

    @override
    def check_error_data(self, code: int, data: Json) -> None:
        assert isinstance(data, list)
        assert data
        kinds = [detail["@type"].removeprefix("type.googleapis.com/google.rpc.") for detail in data]
        if code == -32602:
            (violation,) = data[0]["fieldViolations"]
            assert violation.keys() == {"field", "description"}
            assert kinds == ["BadRequest"]
        elif code == -32603:
            assert kinds == ["RequestInfo"]
        else:
            assert kinds == ["ErrorInfo"]
            assert data[0]["domain"] == "a2a-protocol.org"
            assert data[0]["reason"].replace("_", "").isupper()


class Wire03(Wire):
    """A2A 0.3."""

    version = "0.3"
    headers: dict[str, str] = {}  # noqa: RUF012 - nobody changes it
    send = "message/send"
    stream = "message/stream"
    get = "tasks/get"

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
    def configuration(
        self,
        *,
        modes: list[str] | None = None,
        history: int | None = None,
        at_once: bool | None = None,
        push: Json = None,
    ) -> Json:
        return _present(
            acceptedOutputModes=modes,
            historyLength=history,
            blocking=None if at_once is None else not at_once,
            pushNotificationConfig=push,
        )

    @override
    def read_task(self, task: Json) -> Json:
        assert task["kind"] == "task"
        return self.read_event(task)["task"]

    @override
    def read_event(self, event: Json) -> Json:
        name, member = _KINDS[event["kind"]]
        TypeAdapter(getattr(v0_3, name)).validate_python(event)
        if (schema := schema_of_0_3(name)) is not None:
            schema.validate(event)
        said = {member: _in_words_of_1_0(event)}
        _check_presence("", said)
        return said

    @override
    def check_error_data(self, code: int, data: Json) -> None:
        if code == -32602:
            assert data.keys() == {"field", "problem"}
        elif code == -32603:
            assert data.keys() == {"requestId"}
        else:
            assert data["reason"].replace("_", "").isupper()


V1_0: Wire = Wire10()
V0_3: Wire = Wire03()

_KINDS = {
    "task": ("Task", "task"),
    "message": ("Message", "message"),
    "status-update": ("TaskStatusUpdateEvent", "statusUpdate"),
    "artifact-update": ("TaskArtifactUpdateEvent", "artifactUpdate"),
}


@cache
def schema_of_0_3(name: str) -> Any:
    """Return a validator of the published JSON schema, where it lies beside the repository."""
    if not SCHEMA.exists():
        return None
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return jsonschema.Draft7Validator(schema | {"$ref": f"#/definitions/{name}"})


def _in_words_of_1_0(value: Json) -> Json:
    if isinstance(value, list):
        return [_in_words_of_1_0(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("kind") == "file":
        return _file(value)
    return {
        key: _word(key, item)
        for key, item in value.items()
        if key != "kind" and not (key == "final" and value.get("kind") == "status-update")
    }


def _word(key: str, value: Json) -> Json:
    if key in _FREE:
        return value
    if key == "state":
        return "TASK_STATE_" + value.upper().replace("-", "_")
    if key == "role":
        return "ROLE_" + value.upper()
    return _in_words_of_1_0(value)


def _file(part: Json) -> Json:
    file = part["file"]
    return _present(
        raw=file.get("bytes"),
        url=file.get("uri"),
        filename=file.get("name"),
        mediaType=file.get("mimeType"),
        metadata=part.get("metadata"),
    )


def _without_media_type_of_data(value: Json) -> Json:
    """0.3 has no place for it, so a test of both cannot speak of it."""
    if isinstance(value, list):
        return [_without_media_type_of_data(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: item if key in _FREE else _without_media_type_of_data(item)
        for key, item in value.items()
        if not (key == "mediaType" and "data" in value)
    }


def _check_presence(name: str, value: Json) -> None:
    """What is required is there, and nothing is null or an empty list."""
    if name in _FREE:
        return
    if isinstance(value, list):
        assert value, name
        for item in value:
            _check_presence(name, item)
    elif isinstance(value, dict):
        assert _REQUIRED.get(name, set()) <= value.keys(), name
        for key, item in value.items():
            assert item is not None or key == "data", key
            _check_presence(key, item)


def _present(**fields: Json) -> dict[str, Json]:
    return {name: value for name, value in fields.items() if value is not None}
