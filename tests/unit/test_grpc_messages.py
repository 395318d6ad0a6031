"""Protobuf messages and the JSON that stands for them."""

import contextlib
import json
import math
from typing import Any

import pytest

pytest.importorskip("grpc")

from a2a.compat.v0_3 import a2a_v0_3_pb2 as v03
from a2a.types import a2a_pb2 as v1
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from agent.dialects.v1_0 import Dialect1
from agent.errors import (
    InvalidParams,
    InvalidRequest,
    PayloadTooLarge,
    RequestError,
    UnsupportedOperation,
)
from agent.extensions import Extensions
from agent.grpc_binding import messages
from agent.grpc_binding.messages import Binary, write
from agent.grpc_binding.older import Dialect03Grpc
from agent.grpc_binding.rpcs import Protocol, protocols
from agent.model import Task, TaskState, TaskStatus
from agent.operations import Operations

REQUEST = {
    "message": {
        "messageId": "m-1",
        "role": "ROLE_USER",
        "parts": [
            {"text": ""},
            {"raw": "aGVsbG8=", "mediaType": "text/plain", "filename": "a.txt"},
            {"url": "https://files.example/a"},
            {"data": {"whole": 18, "half": 0.5, "list": [None, True, -3], "large": 1e300}},
            {"data": None},
        ],
        "metadata": {"n": 2},
    },
    "configuration": {"historyLength": 0, "returnImmediately": True},
    "tenant": "red",
}


MOST_VALUES = 1000


def read(kind: type[Message], body: bytes) -> bytes:
    return messages.read(kind, body, MOST_VALUES)


def nested(levels: int) -> dict[str, Any]:
    """Return objects within objects."""
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def test_a_request_is_read_as_it_was_meant() -> None:
    """Numbers without a fraction are integers again, although protobuf knows doubles only."""
    body = write(v1.SendMessageRequest, json.dumps(REQUEST).encode())

    assert json.loads(read(v1.SendMessageRequest, body)) == REQUEST
    assert b"18.0" not in read(v1.SendMessageRequest, body)


def test_bytes_that_are_no_message_are_an_invalid_request() -> None:
    with pytest.raises(InvalidRequest, match="no message of this method"):
        read(v1.SendMessageRequest, b"\xff\xff")


def test_text_that_is_not_utf_8_is_an_invalid_request() -> None:
    with pytest.raises(InvalidRequest):
        read(v1.GetTaskRequest, b"\x12\x02\xff\xff")


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_number_that_json_does_not_know_is_an_invalid_request(number: float) -> None:
    request = v1.SendMessageRequest()
    request.message.parts.add().data.number_value = number

    with pytest.raises(InvalidRequest, match="JSON cannot say"):
        read(v1.SendMessageRequest, request.SerializeToString())


def test_a_time_out_of_range_is_an_invalid_request() -> None:
    request = v1.ListTasksRequest()
    request.status_timestamp_after.seconds = 2**60

    with pytest.raises(InvalidRequest, match="JSON cannot say"):
        read(v1.ListTasksRequest, request.SerializeToString())


def test_a_request_that_is_nested_too_deep_is_an_invalid_request() -> None:
    request = v1.SendMessageRequest()
    request.message.parts.add().data.struct_value.update(nested(40))

    with pytest.raises(InvalidRequest, match="nested too deep"):
        read(v1.SendMessageRequest, request.SerializeToString())


@pytest.mark.parametrize("levels", [40, 90])
def test_an_answer_that_no_client_could_read_is_an_error(levels: int) -> None:
    """Forty levels can be written, but not read."""
    task = {"id": "t", "contextId": "c", "metadata": nested(levels)}

    with pytest.raises(UnsupportedOperation, match="another binding"):
        write(v1.Task, json.dumps(task).encode())


def test_fields_that_the_file_does_not_have_are_left_out() -> None:
    card = v1.AgentCard.FromString(write(v1.AgentCard, b'{"name":"n","preferredTransport":"x"}'))

    assert card == v1.AgentCard(name="n")


def test_an_event_is_encoded_under_a_name_of_its_own() -> None:
    """Followers share what was encoded under one name."""
    binary = Binary(Dialect1(), v1.StreamResponse)

    event = binary.event(Task("t", "c", TaskStatus(TaskState.WORKING)))

    assert binary.version == "1.0 protobuf"
    assert v1.StreamResponse.FromString(event).task.id == "t"


def test_every_method_of_both_services_has_an_operation() -> None:
    """And every operation a method, but for listing tasks, which 0.3's file does not have."""
    nothing: Any = None
    operations = Operations(nothing, nothing, Extensions(()))
    known = operations.unary.keys() | operations.streaming.keys()

    served = {one.version: {rpc.operation for rpc in one.rpcs} for one in protocols()}

    assert served == {"1.0": known, "0.3": known - {"list"}}
    assert [one.service for one in protocols()] == ["lf.a2a.v1.A2AService", "a2a.v1.A2AService"]


@pytest.mark.parametrize("protocol", protocols(), ids=lambda one: one.version)
@given(body=st.binary(max_size=200), cut=st.integers(0, 120), data=st.data())
def test_whatever_comes_is_read_or_refused(
    protocol: Protocol, body: bytes, cut: int, data: st.DataObject
) -> None:
    """Bytes at random, and messages that are right up to some point."""
    rpc = data.draw(st.sampled_from(protocol.rpcs))
    whole = write(v1.SendMessageRequest, json.dumps(REQUEST).encode())
    for given_bytes in (body, whole[:cut] + body):
        try:
            params = read(rpc.request, given_bytes)
        except InvalidRequest:
            continue
        with contextlib.suppress(RequestError):
            getattr(rpc.dialect, READERS[rpc.operation])(params)


READERS = {
    "send": "read_send",
    "stream": "read_send",
    "get": "read_get",
    "list": "read_list",
    "cancel": "read_task",
    "subscribe": "read_task",
    "create_push_config": "read_push_config",
    "get_push_config": "read_push_config_id",
    "list_push_configs": "read_push_configs",
    "delete_push_config": "read_push_config_id",
    "extended_card": "read_tenant",
}


def older(request: Message) -> bytes:
    """Return a request of 0.3 as its dialect gets it."""
    return read(type(request), request.SerializeToString())


def test_tasks_of_0_3_are_named_as_resources() -> None:
    """No history length is the same as 0 there."""
    dialect = Dialect03Grpc()

    asked = dialect.read_get(older(v03.GetTaskRequest(name="tasks/t", history_length=2)))
    assert (asked.id, asked.history_length) == ("t", 2)
    asked = dialect.read_get(older(v03.GetTaskRequest(name="tasks/t")))
    assert (asked.id, asked.history_length) == ("t", None)
    assert dialect.read_task(older(v03.CancelTaskRequest(name="tasks/t"))).id == "t"


@pytest.mark.parametrize("parent", ["tasks/t", "tasks/t/pushNotificationConfigs"])
def test_push_configs_of_0_3_belong_to_their_parent(parent: str) -> None:
    """The file has the one in its comment and the other in its pattern."""
    dialect = Dialect03Grpc()
    given = v03.PushNotificationConfig(url="https://hook.example", token="secret")
    request = v03.CreateTaskPushNotificationConfigRequest(
        parent=parent,
        config_id="p",
        config=v03.TaskPushNotificationConfig(push_notification_config=given),
    )

    config = dialect.read_push_config(older(request))
    assert (config.task_id, config.id, config.url, config.token, config.version) == (
        "t",
        "p",
        "https://hook.example",
        "secret",
        "0.3",
    )
    listed = v03.ListTaskPushNotificationConfigRequest(parent=parent, page_size=3, page_token="x")
    page = dialect.read_push_configs(older(listed))
    assert (page.task_id, page.page_size, page.page_token) == ("t", 3, "x")
    named = v03.GetTaskPushNotificationConfigRequest(name="tasks/t/pushNotificationConfigs/p")
    one = dialect.read_push_config_id(older(named))
    assert (one.task_id, one.id) == ("t", "p")


@pytest.mark.parametrize("name", ["", "t", "tasks/", "tasks/t/u", "task/t"])
def test_a_name_that_names_nothing_is_a_wrong_parameter(name: str) -> None:
    dialect = Dialect03Grpc()
    readers = {
        dialect.read_get: v03.GetTaskRequest(name=name),
        dialect.read_task: v03.CancelTaskRequest(name=name),
        dialect.read_push_config_id: v03.GetTaskPushNotificationConfigRequest(name=name),
        dialect.read_push_configs: v03.ListTaskPushNotificationConfigRequest(parent=name),
    }

    for reader, request in readers.items():
        with pytest.raises(InvalidParams, match="must be tasks/"):
            reader(older(request))


def with_data(data: Any) -> bytes:
    request = {"message": {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"data": data}]}}
    return write(v1.SendMessageRequest, json.dumps(request).encode())


@pytest.mark.parametrize(
    "data",
    [[[]] * 1000, [True] * 1000, {str(n): n for n in range(1000)}, [[{"a": {}}] * 30] * 30],
    ids=["lists", "scalars", "members", "nested"],
)
def test_a_message_has_a_bound_of_values(data: Any) -> None:
    with pytest.raises(PayloadTooLarge, match="1000 values"):
        read(v1.SendMessageRequest, with_data(data))


@pytest.mark.parametrize(
    "data",
    ["a,b,c;1:2\n" * 10_000, [True] * 400, {"n" * 5000: 1}],
    ids=["a long text", "some scalars", "a long name"],
)
def test_bytes_alone_are_not_values(data: Any) -> None:
    body = with_data(data)
    assert len(body) > MOST_VALUES

    read_data = json.loads(read(v1.SendMessageRequest, body))["message"]["parts"][0]["data"]

    assert read_data == data
