"""HTTP+JSON of A2A 0.3: the text of its specification, and the proto's JSON that its SDKs speak."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from a2a.compat.v0_3 import a2a_v0_3_pb2 as proto
from google.protobuf.json_format import MessageToDict, ParseDict

from agent.stacks import FilePart, InputRequired
from tests.conformance._requirements import requirement
from tests.conformance._requirements.row import HTTP_JSON
from tests.conformance.client import in_process
from tests.conformance.reply import RestReply
from tests.conformance.wire_0_3 import HTTP_0_3
from tests.fakes.scripted_stack import ANSWER, Script

if TYPE_CHECKING:
    import httpx

    from tests.conformance.client import Client
    from tests.conformance.wire import Json, Wire

pytestmark = pytest.mark.anyio

BINDING = HTTP_JSON
HOOK = "http://127.0.0.1:8999/hook"
PUSH: dict[str, Any] = {"push": {"allow": ("127.0.0.1",)}}
QUESTION = [InputRequired("Which?")]
TEXT = "?shape=specification"
# A message as the proto's JSON has it.
MESSAGE = {"messageId": "message-1", "role": "ROLE_USER", "content": [{"text": "hi"}]}


@pytest.fixture
def client(answering: dict[Wire, Client]) -> Client:
    return answering[HTTP_0_3]


async def sent(client: Client, path: str, body: Json) -> httpx.Response:
    return await client.http.post(path, json=body)


@requirement("0.3/http-paths", "0.3/http-shape", "0.3/send", "0.3/get", "0.3/cancel")
async def test_every_method_has_its_verb_and_path() -> None:
    async with in_process(Script(QUESTION), HTTP_0_3, **PUSH) as client:
        answer = (await sent(client, "/v1/message:send", client.params("hi"))).json()
        task = answer["task"]
        assert HTTP_0_3.read_task(task)["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
        path = f"/v1/tasks/{task['id']}"
        assert (await client.http.get(path + TEXT)).json() == task
        assert len((await client.http.get("/v1/tasks")).json()) == 1
        configs = f"{path}/pushNotificationConfigs"
        config = {"taskId": task["id"], "pushNotificationConfig": {"id": "mine", "url": HOOK}}
        assert (await sent(client, configs, {"config": config})).json() == config
        assert (await client.http.get(f"{configs}/mine{TEXT}")).json() == config
        assert (await client.http.get(configs + TEXT)).json() == [config]
        assert (await client.http.delete(f"{configs}/mine")).status_code == 200
        canceled = (await client.http.post(f"{path}:cancel{TEXT}")).json()
        assert canceled["status"]["state"] == "canceled"
        refused = await client.http.post(f"{path}:subscribe{TEXT}")
        assert refused.status_code == 400
        assert (await client.http.get("/v1/card")).status_code == 400
        streamed = await sent(client, "/v1/message:stream", client.params("hi"))
        assert RestReply(streamed, HTTP_0_3).events()


@requirement("0.3/http-shape", "0.3/http-stream-data", "0.3/stream-sse", "0.3/stream-final")
async def test_each_event_names_what_it_holds(client: Client) -> None:
    response = await sent(client, "/v1/message:stream", client.params("hi"))
    bodies = [event.body for event in RestReply(response, HTTP_0_3).events()]
    names = [next(iter(body)) for body in bodies]
    assert names[0] == "task"
    assert set(names[1:]) == {"statusUpdate", "artifactUpdate"}
    assert bodies[-1]["statusUpdate"]["final"] is True


@requirement("0.3/content-type", "0.3/http-shape")
async def test_bodies_are_application_json(client: Client) -> None:
    for content_type in ("application/json", "application/json; charset=utf-8"):
        response = await client.http.post(
            "/v1/message:send",
            content=json.dumps(client.params("hi")),
            headers={"Content-Type": content_type},
        )
        assert response.headers["content-type"] == "application/json"
    got = await client.http.get("/v1/tasks")
    assert got.headers["content-type"] == "application/json"
    refused = await client.http.post(
        "/v1/message:send", content=b"{}", headers={"Content-Type": "text/plain"}
    )
    assert refused.status_code == 415


@requirement("0.3/http-status", "0.3/http-error")
async def test_statuses_fit_the_errors(client: Client) -> None:
    task = await client.send_task("hi")
    for response, status, name in (
        (await client.http.get("/v1/tasks/nowhere"), 404, "TaskNotFoundError"),
        (await client.http.post(f"/v1/tasks/{task['id']}:cancel"), 400, "TaskNotCancelableError"),
        (await sent(client, "/v1/message:send", {}), 400, "InvalidParamsError"),
        (await client.http.get("/v1/nothing-here"), 404, None),
        (await client.http.put("/v1/tasks", content=b""), 405, None),
    ):
        assert response.status_code == status
        if name is not None:
            assert response.json()["type"] == name
            assert response.json()["message"] == response.json()["error"]["message"]


@requirement("0.3/http-proto", "0.3/http-shape", "0.3/send", "0.3/get")
async def test_who_speaks_the_protos_json_is_answered_in_it(client: Client) -> None:
    answer = (await sent(client, "/v1/message:send", {"request": MESSAGE})).json()
    task = ParseDict(answer, proto.SendMessageResponse()).task
    assert task.status.state == proto.TASK_STATE_COMPLETED
    assert task.artifacts[0].parts[0].text == "yes"
    assert task.history[0].content[0].text == "hi"
    got = (await client.http.get(f"/v1/tasks/{task.id}")).json()
    assert ParseDict(got, proto.Task()) == task
    streamed = await sent(client, "/v1/message:stream", {"request": MESSAGE})
    events = [
        ParseDict(json.loads(line.removeprefix("data: ")), proto.StreamResponse())
        for line in streamed.text.split("\n")
        if line.startswith("data: ")
    ]
    assert events[0].HasField("task")
    assert events[-1].status_update.status.state == proto.TASK_STATE_COMPLETED
    assert events[-1].status_update.final


@requirement("0.3/http-proto", "0.3/parts", "0.3/file", "0.3/validation")
async def test_every_kind_of_part_has_its_form_in_the_proto(client: Client) -> None:
    content = [
        {"text": "hi"},
        {"file": {"fileWithBytes": "QVA4PQ==", "mimeType": "image/png", "name": "a"}},
        {"file": {"fileWithUri": "https://a.example/b", "mimeType": "image/png"}},
        {"data": {"data": {"k": [1]}}},
    ]
    answer = (
        await sent(client, "/v1/message:send", {"request": MESSAGE | {"content": content}})
    ).json()
    history = ParseDict(answer, proto.SendMessageResponse()).task.history[0].content
    assert history[0].text == "hi"
    # The SDKs of 0.3 put the text of the base64 where the proto has bytes.
    assert history[1].file.file_with_bytes == b"AP8="
    assert history[2].file.file_with_uri == "https://a.example/b"
    assert MessageToDict(history[3].data.data) == {"k": [1]}
    assert client.script.requests[0].parts[1] == FilePart("a", "image/png", data=b"\x00\xff")
    for part in ({}, {"video": 1}, {"text": "a", "data": {"data": {}}}):
        body = {"request": MESSAGE | {"content": [part]}}
        assert (await sent(client, "/v1/message:send", body)).status_code == 400


@requirement("0.3/http-proto", "0.3/push-set", "0.3/push-get", "0.3/push-list", "0.3/push-delete")
async def test_push_configurations_have_the_names_of_the_proto() -> None:
    async with in_process(Script(QUESTION), HTTP_0_3, **PUSH) as client:
        task = await client.send_task("hi")
        parent = f"tasks/{task['id']}"
        name = f"{parent}/pushNotificationConfigs/mine"
        config = {"name": name, "pushNotificationConfig": {"id": "mine", "url": HOOK}}
        body = {"parent": parent, "configId": "mine", "config": config}
        created = await sent(client, f"/v1/{parent}/pushNotificationConfigs", body)
        parsed = ParseDict(created.json(), proto.TaskPushNotificationConfig())
        assert (parsed.name, parsed.push_notification_config.url) == (name, HOOK)
        got = (await client.http.get(f"/v1/{name}")).json()
        assert ParseDict(got, proto.TaskPushNotificationConfig()) == parsed
        listed = (await client.http.get(f"/v1/{parent}/pushNotificationConfigs")).json()
        configs = ParseDict(listed, proto.ListTaskPushNotificationConfigResponse()).configs
        assert list(configs) == [parsed]
        assert (await client.http.delete(f"/v1/{name}")).status_code == 200
        assert (await client.http.get(f"/v1/{name}")).status_code == 404


@requirement("0.3/http-proto", "0.3/cancel", "0.3/resubscribe-ended")
async def test_cancelling_takes_the_name_of_the_task() -> None:
    async with in_process(Script(QUESTION, ANSWER), HTTP_0_3) as client:
        task = await client.send_task("hi")
        name = {"name": f"tasks/{task['id']}"}
        canceled = (await sent(client, f"/v1/tasks/{task['id']}:cancel", name)).json()
        assert ParseDict(canceled, proto.Task()).status.state == proto.TASK_STATE_CANCELLED
        other = await sent(client, "/v1/tasks/other:cancel", name)
        assert other.status_code == 400
