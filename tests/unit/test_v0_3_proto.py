"""The JSON of A2A 0.3's Protocol Buffers file, checked with the types that a2a-sdk generated from it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from a2a.compat.v0_3 import a2a_v0_3_pb2 as pb2
from a2a.compat.v0_3 import types as sdk
from a2a.compat.v0_3.proto_utils import FromProto, ToProto
from google.protobuf.json_format import MessageToDict, Parse

from agent.dialects.v0_3_proto import Dialect03Proto
from agent.errors import InvalidParams
from agent.model import (
    Artifact,
    ArtifactUpdate,
    Message,
    Part,
    PushAuthentication,
    PushConfig,
    PushConfigPage,
    Role,
    StatusUpdate,
    Task,
    TaskPage,
    TaskState,
    TaskStatus,
)

DIALECT = Dialect03Proto()
AT = "2026-01-31T12:00:00.123Z"
PICTURE = base64.b64encode(bytes(range(256))).decode()
SAID = Message(
    message_id="m-1",
    role=Role.USER,
    parts=[
        Part(text="hi", metadata={"k": [1, None]}),
        Part(data={"a": {"b_c": 1}}),
        Part(raw=PICTURE, filename="p.png", media_type="image/png"),
        Part(url="https://example.com/f", media_type="text/plain"),
    ],
    context_id="c-1",
    task_id="t-1",
    metadata={"some_key": True},
    extensions=["urn:x"],
)
ANSWER = Artifact("answer", [Part(text="yes")], name="n", description="d", metadata={"m": 1})
TASK = Task(
    id="t-1",
    context_id="c-1",
    status=TaskStatus(
        TaskState.INPUT_REQUIRED, Message("m-2", Role.AGENT, [Part(text="?")], "c-1", "t-1"), AT
    ),
    artifacts=[ANSWER],
    history=[SAID],
    metadata={"turn_id": "x"},
)


def parsed(body: bytes, message: Any) -> Any:
    """Parse as strictly as protobuf does: an unknown member or value is an error."""
    return Parse(body, message)


def sent(request: dict[str, Any]) -> Any:
    return DIALECT.read_send(json.dumps(request).encode())


def message(**fields: Any) -> dict[str, Any]:
    return {"messageId": "m", "role": "ROLE_USER", "content": [{"text": "hi"}], **fields}


def test_a_task_is_read_by_the_sdk() -> None:
    task = FromProto.task(parsed(DIALECT.task(TASK), pb2.Task()))
    assert task.status.state is sdk.TaskState.input_required
    assert task.status.message is not None
    assert task.status.message.role is sdk.Role.agent
    assert task.metadata == {"turn_id": "x"}
    assert task.artifacts is not None
    assert task.history is not None
    text, data, picture, link = (part.root for part in task.history[0].parts)
    assert isinstance(text, sdk.TextPart)
    assert text.text == "hi"
    assert text.metadata == {"k": [1, None]}
    assert isinstance(data, sdk.DataPart)
    assert data.data == {"a": {"b_c": 1}}
    assert isinstance(picture, sdk.FilePart)
    assert isinstance(picture.file, sdk.FileWithBytes)
    assert (picture.file.bytes, picture.file.name) == (PICTURE, "p.png")
    assert isinstance(link, sdk.FilePart)
    assert isinstance(link.file, sdk.FileWithUri)
    assert link.file.uri == "https://example.com/f"


def test_a_task_is_written_as_protobuf_writes_it() -> None:
    body = DIALECT.task(TASK)
    assert MessageToDict(parsed(body, pb2.Task())) == json.loads(body)


@pytest.mark.parametrize("state", TaskState)
def test_every_state_has_a_name_in_the_file(state: TaskState) -> None:
    task = parsed(DIALECT.task(Task("t", "c", TaskStatus(state, timestamp=AT))), pb2.Task())
    expected = state.name.lower().replace("_", "-")
    assert FromProto.task(task).status.state.value == expected


@pytest.mark.parametrize(
    ("event", "member"),
    [
        (TASK, "task"),
        (SAID, "msg"),
        (StatusUpdate("t", "c", TaskStatus(TaskState.WORKING, timestamp=AT)), "status_update"),
        (ArtifactUpdate("t", "c", ANSWER, append=True, last_chunk=True), "artifact_update"),
    ],
)
def test_an_event_is_the_member_that_it_is(event: Any, member: str) -> None:
    response = parsed(DIALECT.event(event), pb2.StreamResponse())
    assert response.WhichOneof("payload") == member


@pytest.mark.parametrize(
    ("state", "final"), [(TaskState.WORKING, False), (TaskState.COMPLETED, True)]
)
def test_the_last_status_is_final(state: TaskState, final: bool) -> None:
    event = DIALECT.event(StatusUpdate("t", "c", TaskStatus(state), {"step": {"kind": "x"}}))
    update = parsed(event, pb2.StreamResponse()).status_update
    assert update.final is final
    assert MessageToDict(update.metadata) == {"step": {"kind": "x"}}


def test_pieces_of_an_artifact_are_marked() -> None:
    event = DIALECT.event(ArtifactUpdate("t", "c", ANSWER, append=True, last_chunk=True))
    update = FromProto.task_artifact_update_event(
        parsed(event, pb2.StreamResponse()).artifact_update
    )
    assert (update.append, update.last_chunk) == (True, True)
    assert update.artifact.artifact_id == "answer"


def test_data_that_is_no_object_becomes_one() -> None:
    said = Message("m", Role.AGENT, [Part(data=[1, 2])])
    response = parsed(DIALECT.event(said), pb2.StreamResponse())
    assert MessageToDict(response.msg.content[0].data.data) == {"value": [1, 2]}


@pytest.mark.parametrize("preserving", [True, False], ids=["snake_case", "camelCase"])
def test_what_the_sdk_sends_is_read(preserving: bool) -> None:
    """The SDK of 1.x sends the names of the file, where ``message`` is called ``request``."""
    user = FromProto.message(
        parsed(DIALECT.event(SAID), pb2.StreamResponse()).msg,
    )
    config = sdk.MessageSendConfiguration(
        accepted_output_modes=["text/plain"],
        blocking=True,
        history_length=3,
        push_notification_config=sdk.PushNotificationConfig(
            id="p",
            url="https://example.com/hook",
            token="t",
            authentication=sdk.PushNotificationAuthenticationInfo(schemes=["Bearer"]),
        ),
    )
    request = pb2.SendMessageRequest(
        request=ToProto.message(user),
        configuration=ToProto.message_send_configuration(config),
        metadata=ToProto.metadata({"some_key": "v"}),
    )
    asked = sent(MessageToDict(request, preserving_proto_field_name=preserving))
    assert asked.message == SAID
    assert asked.metadata == {"some_key": "v"}
    assert asked.accepted_output_modes == ("text/plain",)
    assert (asked.history_length, asked.return_immediately) == (3, False)
    assert asked.push_config == PushConfig(
        url="https://example.com/hook",
        version="0.3",
        id="p",
        token="t",
        authentication=PushAuthentication(("Bearer",)),
    )


@pytest.mark.parametrize(
    ("request_", "at_once"),
    [
        ({"message": message()}, False),
        ({"message": message(), "configuration": {}}, True),
        ({"message": message(), "configuration": {"blocking": False}}, True),
        ({"message": message(), "configuration": {"blocking": True}}, False),
    ],
)
def test_a_configuration_blocks_when_it_says_so(request_: dict[str, Any], at_once: bool) -> None:
    """ProtoJSON leaves false out, so it is what a configuration without ``blocking`` means."""
    assert sent(request_).return_immediately is at_once


def test_a_history_length_of_0_is_no_limit() -> None:
    asked = sent({"message": message(), "configuration": {"historyLength": 0}})
    assert asked.history_length is None


def test_empty_strings_are_absent() -> None:
    asked = sent({"message": message(contextId="", taskId="")})
    assert (asked.message.context_id, asked.message.task_id) == (None, None)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe binary", b"some text, read as it is"])
def test_a_file_is_taken_as_base64_and_as_the_sdks_send_it(content: bytes) -> None:
    once = base64.b64encode(content).decode()
    for given in (once, base64.b64encode(once.encode()).decode()):
        file = {"file": {"fileWithBytes": given, "mimeType": "text/plain", "name": "f"}}
        (part,) = sent({"message": message(content=[file])}).message.parts
        assert part == Part(raw=once, filename="f", media_type="text/plain")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "message"),
        ({"message": message(role="user")}, "message.role"),
        ({"message": message(content=None)}, "message.content"),
        ({"message": message(content=[{}])}, "message.content[0]"),
        ({"message": message(content=[{"text": "a", "data": {"data": {}}}])}, "message.content[0]"),
        ({"message": message(content=[{"data": {"data": 1}}])}, "message.content[0].data.data"),
        ({"message": message(content=[{"file": {}}])}, "message.content[0].file"),
        ({"message": {"role": "ROLE_USER", "content": []}}, "message.messageId"),
        (
            {"message": message(), "configuration": {"historyLength": -1}},
            "configuration.historyLength",
        ),
        (
            {"message": message(), "configuration": {"pushNotification": {}}},
            "configuration.pushNotification.url",
        ),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        sent(given)
    assert caught.value.field == field


CONFIG = PushConfig(
    url="https://example.com/hook",
    version="0.3",
    id="p-1",
    task_id="t-1",
    token="secret",
    authentication=PushAuthentication(("Bearer", "Basic"), "c"),
)


def test_a_push_configuration_is_read_by_the_sdk() -> None:
    config = parsed(DIALECT.push_config(CONFIG), pb2.TaskPushNotificationConfig())
    assert config.name == "tasks/t-1/pushNotificationConfigs/p-1"
    read = FromProto.task_push_notification_config(config)
    assert read.task_id == "t-1"
    assert read.push_notification_config.id == "p-1"
    assert read.push_notification_config.authentication is not None
    assert read.push_notification_config.authentication.schemes == ["Bearer", "Basic"]


@pytest.mark.parametrize("preserving", [True, False], ids=["snake_case", "camelCase"])
def test_a_push_configuration_of_the_sdk_is_read(preserving: bool) -> None:
    config = parsed(DIALECT.push_config(CONFIG), pb2.TaskPushNotificationConfig())
    request = pb2.CreateTaskPushNotificationConfigRequest(
        parent="tasks/t-1", config_id="p-1", config=config
    )
    body = MessageToDict(request, preserving_proto_field_name=preserving)
    assert DIALECT.read_push_config(json.dumps(body).encode()) == CONFIG


def test_the_name_of_a_push_configuration_may_hold_its_id() -> None:
    body = {
        "parent": "tasks/t",
        "config": {
            "name": "tasks/t/pushNotificationConfigs/p",
            "pushNotificationConfig": {"url": "https://example.com"},
        },
    }
    config = DIALECT.read_push_config(json.dumps(body).encode())
    assert (config.task_id, config.id) == ("t", "p")


def test_push_configurations_are_listed() -> None:
    body = DIALECT.push_configs(PushConfigPage([CONFIG, CONFIG], "next"))
    response = parsed(body, pb2.ListTaskPushNotificationConfigResponse())
    assert [config.name for config in response.configs] == [
        "tasks/t-1/pushNotificationConfigs/p-1"
    ] * 2
    assert response.next_page_token == "next"


def test_tasks_are_listed() -> None:
    body = json.loads(DIALECT.page(TaskPage([TASK], "next", 50, 1), with_artifacts=True))
    assert (body["nextPageToken"], body["pageSize"], body["totalSize"]) == ("next", 50, 1)
    (task,) = body["tasks"]
    assert parsed(json.dumps(task).encode(), pb2.Task()).id == "t-1"


def test_tasks_are_filtered_by_the_names_of_states_in_the_file() -> None:
    asked = DIALECT.read_list(b'{"status":"TASK_STATE_CANCELLED","pageSize":7}')
    assert (asked.status, asked.page_size) == (TaskState.CANCELED, 7)
    for wrong in (b'"canceled"', b'"TASK_STATE_CANCELED"', b"7"):
        with pytest.raises(InvalidParams):
            DIALECT.read_list(b'{"status":' + wrong + b"}")


def test_deleting_answers_an_empty_message() -> None:
    assert DIALECT.deleted() == b"{}"
