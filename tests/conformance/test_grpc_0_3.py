"""gRPC of A2A 0.3: the service of its proto, on the port of 1.0's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from a2a.compat.v0_3 import a2a_v0_3_pb2 as proto
from a2a.compat.v0_3.a2a_v0_3_pb2_grpc import A2AServiceStub

from agent.stacks import InputRequired
from tests.conformance._requirements import requirement
from tests.conformance._requirements.row import GRPC
from tests.conformance.client import in_process
from tests.conformance.grpc_channel import details_of
from tests.conformance.wire_0_3 import V0_3
from tests.conformance.wire_1_0 import GRPC_1_0
from tests.fakes.scripted_stack import ANSWER, Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conformance.client import Client

pytestmark = pytest.mark.anyio

BINDING = GRPC
HOOK = "http://127.0.0.1:8999/hook"
PUSH: dict[str, Any] = {"push": {"allow": ("127.0.0.1",)}}
QUESTION = [InputRequired("Which?")]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with in_process(Script(QUESTION, ANSWER), GRPC_1_0, **PUSH) as client:
        yield client


@pytest.fixture
def stub(client: Client) -> Any:
    """Return the generated client of 0.3."""
    return A2AServiceStub(client.server.grpc)  # type: ignore[no-untyped-call] # generated


def message(task_id: str = "") -> proto.SendMessageRequest:
    said = proto.Message(
        message_id="m",
        role=proto.ROLE_USER,
        content=[proto.Part(text="hi")],
        task_id=task_id,
    )
    how = proto.SendMessageConfiguration(blocking=True)
    return proto.SendMessageRequest(request=said, configuration=how)


@requirement("0.3/grpc-service", "0.3/grpc-equal")
async def test_a_task_is_sent_got_gone_on_with_and_the_same_over_json_rpc(
    client: Client, stub: Any
) -> None:
    asked = (await stub.SendMessage(message())).task
    assert asked.status.state == proto.TASK_STATE_INPUT_REQUIRED
    assert asked.status.update.content[0].text == "Which?"
    assert await stub.GetTask(proto.GetTaskRequest(name=f"tasks/{asked.id}")) == asked
    done = (await stub.SendMessage(message(asked.id))).task
    assert (done.id, done.status.state) == (asked.id, proto.TASK_STATE_COMPLETED)
    assert done.artifacts[0].parts[0].text == "yes"
    same = (await client.speaking(V0_3).get(asked.id)).task
    assert same["contextId"] == done.context_id
    assert [one["parts"][0]["text"] for one in same["history"]] == [
        one.content[0].text for one in done.history
    ]


@requirement("0.3/grpc-stream", "0.3/grpc-equal")
async def test_streams_are_server_streaming_calls(stub: Any) -> None:
    events = [event async for event in stub.SendStreamingMessage(message())]
    kinds = [event.WhichOneof("payload") for event in events]
    assert kinds[0] == "task"
    assert set(kinds[1:]) <= {"status_update", "artifact_update"}
    assert [event.status_update.final for event in events].count(True) == 1
    assert events[-1].status_update.final
    name = f"tasks/{events[0].task.id}"
    subscription = stub.TaskSubscription(proto.TaskSubscriptionRequest(name=name))
    follow = aiter(subscription)
    first = await anext(follow)
    assert first.task.status.state == proto.TASK_STATE_INPUT_REQUIRED
    await stub.SendMessage(message(events[0].task.id))
    rest = [event async for event in follow]
    assert rest[-1].status_update.status.state == proto.TASK_STATE_COMPLETED


@requirement("0.3/grpc-service", "0.3/grpc-equal")
async def test_a_task_is_cancelled(stub: Any) -> None:
    task = (await stub.SendMessage(message())).task
    canceled = await stub.CancelTask(proto.CancelTaskRequest(name=f"tasks/{task.id}"))
    assert canceled.status.state == proto.TASK_STATE_CANCELLED


@requirement("0.3/grpc-service", "0.3/grpc-equal")
async def test_push_configurations_are_resources_of_the_task(stub: Any) -> None:
    task = (await stub.SendMessage(message())).task
    parent = f"tasks/{task.id}"
    name = f"{parent}/pushNotificationConfigs/mine"
    config = proto.TaskPushNotificationConfig(
        name=name, push_notification_config=proto.PushNotificationConfig(id="mine", url=HOOK)
    )
    created = await stub.CreateTaskPushNotificationConfig(
        proto.CreateTaskPushNotificationConfigRequest(
            parent=parent, config_id="mine", config=config
        )
    )
    assert created == config
    got = await stub.GetTaskPushNotificationConfig(
        proto.GetTaskPushNotificationConfigRequest(name=name)
    )
    assert got == config
    listed = await stub.ListTaskPushNotificationConfig(
        proto.ListTaskPushNotificationConfigRequest(parent=parent)
    )
    assert list(listed.configs) == [config]
    await stub.DeleteTaskPushNotificationConfig(
        proto.DeleteTaskPushNotificationConfigRequest(name=name)
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetTaskPushNotificationConfig(
            proto.GetTaskPushNotificationConfigRequest(name=name)
        )
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


@requirement("0.3/grpc-errors")
async def test_errors_have_the_status_of_their_kind(stub: Any) -> None:
    for call, code, reason in (
        (
            stub.GetTask(proto.GetTaskRequest(name="tasks/nowhere")),
            grpc.StatusCode.NOT_FOUND,
            "TASK_NOT_FOUND",
        ),
        (
            stub.SendMessage(proto.SendMessageRequest()),
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_PARAMS",
        ),
        (
            stub.GetAgentCard(proto.GetAgentCardRequest()),
            grpc.StatusCode.FAILED_PRECONDITION,
            "EXTENDED_AGENT_CARD_NOT_CONFIGURED",
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() == code
        reasons = [one["reason"] for one in details_of(caught.value) if "reason" in one]
        assert reasons == [reason]


@requirement("0.3/grpc-equal", "0.3/grpc-errors")
async def test_another_version_is_refused(stub: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.SendMessage(message(), metadata=(("a2a-version", "0.9"),))
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
