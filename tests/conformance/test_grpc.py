"""gRPC of A2A 1.0: the service, its metadata, its errors and its streams (section 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from a2a.types import a2a_pb2
from a2a.types.a2a_pb2_grpc import A2AServiceStub
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from agent.stacks import TextDelta
from tests.conformance._requirements import requirement
from tests.conformance._requirements.row import GRPC
from tests.conformance.client import in_process
from tests.conformance.grpc_channel import SERVICE
from tests.conformance.wire_1_0 import GRPC_1_0
from tests.fakes.scripted_stack import ANSWER, DONE, Script

if TYPE_CHECKING:
    from tests.conformance.client import Client
    from tests.conformance.wire import Wire

pytestmark = pytest.mark.anyio

BINDING = GRPC
ONE_0 = (("a2a-version", "1.0"),)


@pytest.fixture
def stub(answering: dict[Wire, Client]) -> Any:
    """Return the generated client of a server that answers."""
    channel = answering[GRPC_1_0].server.grpc
    return A2AServiceStub(channel)  # type: ignore[no-untyped-call] # generated


def message(**fields: Any) -> a2a_pb2.SendMessageRequest:
    part = a2a_pb2.Part(text="hi")
    said = a2a_pb2.Message(message_id="m", role=a2a_pb2.ROLE_USER, parts=[part], **fields)
    return a2a_pb2.SendMessageRequest(message=said)


def details(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """Return the details of an error by their type."""
    trailing = dict(error.trailing_metadata())
    status = Status.FromString(trailing["grpc-status-details-bin"])
    found = {}
    for detail in status.details:
        kind = getattr(error_details_pb2, detail.type_url.rpartition(".")[2])()
        assert detail.Unpack(kind)
        found[type(kind).__name__] = kind
    return found


@requirement("1.0/grpc-service", "1.0/method-names", "1.0/same-operations")
async def test_every_method_of_the_service_is_there(stub: Any) -> None:
    calls = {
        "SendMessage": message(),
        "GetTask": a2a_pb2.GetTaskRequest(id="x"),
        "ListTasks": a2a_pb2.ListTasksRequest(),
        "CancelTask": a2a_pb2.CancelTaskRequest(id="x"),
        "CreateTaskPushNotificationConfig": a2a_pb2.TaskPushNotificationConfig(
            task_id="x", url="https://a.example/hook"
        ),
        "GetTaskPushNotificationConfig": a2a_pb2.GetTaskPushNotificationConfigRequest(
            task_id="x", id="y"
        ),
        "ListTaskPushNotificationConfigs": a2a_pb2.ListTaskPushNotificationConfigsRequest(
            task_id="x"
        ),
        "DeleteTaskPushNotificationConfig": a2a_pb2.DeleteTaskPushNotificationConfigRequest(
            task_id="x", id="y"
        ),
        "GetExtendedAgentCard": a2a_pb2.GetExtendedAgentCardRequest(),
    }
    streams = {
        "SendStreamingMessage": message(),
        "SubscribeToTask": a2a_pb2.SubscribeToTaskRequest(id="x"),
    }
    assert calls.keys() | streams.keys() == set(SERVICE.methods_by_name)
    codes = set()
    for name, request in calls.items():
        try:
            await getattr(stub, name)(request, metadata=ONE_0)
        except grpc.aio.AioRpcError as exc:
            codes.add(exc.code())
    for name, request in streams.items():
        try:
            assert [event async for event in getattr(stub, name)(request, metadata=ONE_0)]
        except grpc.aio.AioRpcError as exc:
            codes.add(exc.code())
    assert codes <= {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION}


@requirement("1.0/grpc-metadata", "1.0/parameter-names", "1.0/grpc-version", "1.0/version-unknown")
@pytest.mark.parametrize("version", ["0.5", "1.1", "2.0", "latest", "1.0, 9.9"])
async def test_an_unknown_version_is_refused(stub: Any, version: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetTask(a2a_pb2.GetTaskRequest(id="x"), metadata=(("a2a-version", version),))
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert details(caught.value)["ErrorInfo"].reason == "VERSION_NOT_SUPPORTED"
    stream = stub.SendStreamingMessage(message(), metadata=(("a2a-version", version),))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stream.read()
    assert details(caught.value)["ErrorInfo"].reason == "VERSION_NOT_SUPPORTED"


@requirement("1.0/version-patch", "1.0/version-empty", "1.0/version-semantics")
@pytest.mark.parametrize("metadata", [(), (("a2a-version", "1.0.9"),), (("a2a-version", ""),)])
async def test_the_service_is_that_of_1_0(stub: Any, metadata: Any) -> None:
    answer = await stub.SendMessage(message(), metadata=metadata)
    assert answer.task.status.state == a2a_pb2.TASK_STATE_COMPLETED


@requirement("1.0/version-empty", "1.0/version-semantics")
async def test_a_strict_server_takes_the_version_at_its_word() -> None:
    async with in_process(Script(ANSWER), GRPC_1_0, a2a={"strict_version": True}) as client:
        assert await client.send("hi")
        for version in ("0.3", ""):
            reply = await client.call("SendMessage", client.params("hi"), A2A_Version=version)
            assert reply.code == -32009


@requirement("1.0/grpc-error", "1.0/grpc-error-info", "1.0/error-task-not-found")
async def test_an_error_has_code_message_and_error_info(stub: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetTask(a2a_pb2.GetTaskRequest(id="nowhere"), metadata=ONE_0)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert caught.value.details()
    info = details(caught.value)["ErrorInfo"]
    assert (info.reason, info.domain) == ("TASK_NOT_FOUND", "a2a-protocol.org")


@requirement("1.0/grpc-bad-request", "1.0/validation-field", "1.0/required", "1.0/not-empty")
@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (a2a_pb2.SendMessageRequest(), "message"),
        (a2a_pb2.SendMessageRequest(message=a2a_pb2.Message(role="ROLE_USER")), "messageId"),
        (
            a2a_pb2.SendMessageRequest(
                message=a2a_pb2.Message(message_id="m", parts=[a2a_pb2.Part(text="a")])
            ),
            "role",
        ),
        (
            a2a_pb2.SendMessageRequest(message=a2a_pb2.Message(message_id="m", role="ROLE_USER")),
            "parts",
        ),
        (
            a2a_pb2.SendMessageRequest(
                message=a2a_pb2.Message(message_id="m", role="ROLE_USER", parts=[a2a_pb2.Part()])
            ),
            "parts[0]",
        ),
    ],
)
async def test_what_is_required_is_missed_by_name(stub: Any, request_: Any, field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.SendMessage(request_, metadata=ONE_0)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    (violation,) = details(caught.value)["BadRequest"].field_violations
    assert violation.field.endswith(field)


@requirement("1.0/grpc-bad-request", "1.0/list-validation", "1.0/validation", on="gRPC")
async def test_an_enum_that_is_unknown_is_refused(stub: Any) -> None:
    """Proto3 carries any number: it must not be taken for none."""
    for request in (
        a2a_pb2.ListTasksRequest(status=99),  # type: ignore[arg-type] # on purpose
        a2a_pb2.ListTasksRequest(page_size=0),
        a2a_pb2.ListTasksRequest(page_size=101),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListTasks(request, metadata=ONE_0)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@requirement("1.0/grpc-stream", "1.0/stream-established", "1.0/stream-task-first")
async def test_a_stream_is_a_server_streaming_call() -> None:
    turn = [TextDelta("a"), TextDelta("b"), DONE]
    async with in_process(Script(turn), GRPC_1_0) as client:
        stub: Any = A2AServiceStub(client.server.grpc)  # type: ignore[no-untyped-call] # generated
        call = stub.SendStreamingMessage(message(), metadata=ONE_0)
        events = [event async for event in call]
        assert events[0].WhichOneof("payload") == "task"
        assert events[-1].status_update.status.state == a2a_pb2.TASK_STATE_COMPLETED
        assert await call.code() == grpc.StatusCode.OK


@requirement("1.0/grpc-metadata", "1.0/extension-chosen")
async def test_extensions_are_chosen_and_told_by_metadata() -> None:
    uri = "https://a.example/x/v1"
    declared = {"a2a": {"extensions": ({"uri": uri},)}}
    async with in_process(Script(ANSWER), GRPC_1_0, **declared) as client:
        stub: Any = A2AServiceStub(client.server.grpc)  # type: ignore[no-untyped-call] # generated
        metadata = (*ONE_0, ("a2a-extensions", f"{uri},https://b.example/y"))
        call = stub.SendMessage(message(), metadata=metadata)
        await call
        assert dict(await call.initial_metadata())["a2a-extensions"] == uri
        assert client.script.requests[0].extensions == (uri,)
