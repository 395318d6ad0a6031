"""A2A over HTTP+JSON in both versions, on a socket."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import httpx
import pytest

from agent.app import create_app
from agent.settings import Settings
from agent.stacks import TextDelta
from tests.fakes.scripted_stack import ANSWER, DONE, STACK, Script, scripted
from tests.fakes.server import listen, run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

EXTENSION = "https://example.com/extension"
KEY = "0198e5a8-3f1c-7000-8000-000000000001"


class Served(NamedTuple):
    """A server, and a client of it."""

    http: httpx.AsyncClient
    script: Script


@asynccontextmanager
async def served(*turns: Any, **sections: Any) -> AsyncIterator[Served]:
    """Serve an agent that does ``turns``; ``sections`` are of its settings."""
    listening = listen()
    script = Script(*(turns or (ANSWER,)))
    with scripted(script) as name, anyio.fail_after(15):
        settings = Settings.model_validate(
            {
                "name": name,
                "stack": STACK,
                "a2a_state": {"memory": True},
                "push": {"allow": ["127.0.0.1"]},
                "service": {"base_url": listening[1]},
                **sections,
                "a2a": {
                    "tenants": ["acme"],
                    "keep_alive_seconds": 0.05,
                    "extensions": [{"uri": EXTENSION}],
                    **sections.get("a2a", {}),
                },
            }
        )
        async with (
            run_server(create_app(settings), listening) as url,
            httpx.AsyncClient(base_url=url) as http,
        ):
            yield Served(http, script)


def text(said: str = "hi", message_id: str = "m", **fields: Any) -> dict[str, Any]:
    """Return a request to send in the specification's JSON of 0.3."""
    parts = [{"kind": "text", "text": said}]
    message = {"kind": "message", "messageId": message_id, "role": "user", "parts": parts}
    return {"message": {**message, **fields}}


def proto(said: str = "hi", message_id: str = "m", **fields: Any) -> dict[str, Any]:
    """Return a request to send in the JSON of 0.3's Protocol Buffers file."""
    message = {"messageId": message_id, "role": "ROLE_USER", "content": [{"text": said}]}
    return {"message": {**message, **fields}}


def new(said: str = "hi", message_id: str = "m", **fields: Any) -> dict[str, Any]:
    """Return a request to send in 1.0."""
    message = {"messageId": message_id, "role": "ROLE_USER", "parts": [{"text": said}]}
    return {"message": {**message, **fields}}


def reason(response: httpx.Response, code: int) -> str:
    """Return why a request was refused with an HTTP status."""
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (code, code), response.text
    why: str = error["details"][0]["reason"]
    return why


def frames(content: str) -> list[tuple[int, Any]]:
    """Return the events of a stream with their ids; comments are left out."""
    found = []
    for frame in content.split("\n\n"):
        if frame and not frame.startswith(":"):
            first, data = frame.split("\n")
            found.append((int(first.removeprefix("id: ")), json.loads(data[len("data: ") :])))
    return found


async def first_event(lines: AsyncIterator[str]) -> Any:
    """Return the first event of a stream that goes on."""
    async for line in lines:
        if line.startswith("data: "):
            return json.loads(line.removeprefix("data: "))
    raise AssertionError("the stream ended")


async def test_a_task_is_the_same_in_every_version_and_binding() -> None:
    async with served() as (http, _):
        task = (await http.post("/message:send", json=new())).json()["task"]
        path = f"/tasks/{task['id']}"
        assert (await http.get(path)).json() == task
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"
        older = (await http.get(f"/v1{path}?shape=specification")).json()
        assert (older["kind"], older["status"]["state"]) == ("task", "completed")
        of_proto = (await http.get(f"/v1{path}")).json()
        assert of_proto["history"][0]["content"] == [{"text": "hi"}]
        call = {"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": task["id"]}}
        assert (await http.post("/a2a", json=call)).json()["result"] == task


@pytest.mark.parametrize(
    ("path", "sent"),
    [("/message:send", new()), ("/v1/message:send", text()), ("/v1/message:send", proto())],
    ids=["1.0", "text", "proto"],
)
async def test_a_send_does_not_wait_when_it_should_not(path: str, sent: dict[str, Any]) -> None:
    """``returnImmediately`` and ``blocking``: the task is read later."""
    gate = anyio.Event()
    configuration = {"returnImmediately": True} if path == "/message:send" else {"blocking": False}
    async with served([TextDelta("one"), gate, DONE]) as (http, _):
        response = await http.post(path, json={**sent, "configuration": configuration})
        task = response.json()["task"]
        assert task["status"]["state"] not in {"completed", "TASK_STATE_COMPLETED"}
        gate.set()
        state = ""
        while state != "TASK_STATE_COMPLETED":
            state = (await http.get(f"/tasks/{task['id']}")).json()["status"]["state"]


@pytest.mark.parametrize(
    ("prefix", "sent"),
    [("", new()), ("/acme", new()), ("/v1", text()), ("/v1", proto())],
    ids=["1.0", "tenant", "text", "proto"],
)
async def test_a_stream_is_numbered_and_can_be_picked_up_again(
    prefix: str, sent: dict[str, Any]
) -> None:
    """With the id of the last event heard, the rest comes again, also of a task that has ended."""
    async with served([TextDelta("one "), TextDelta("two"), DONE]) as (http, _):
        streamed = await http.post(f"{prefix}/message:stream", json=sent)
        assert streamed.headers["content-type"].startswith("text/event-stream")
        events = frames(streamed.text)
        assert [seq for seq, _ in events] == list(range(1, len(events) + 1))
        members = [next(iter(event)) for _, event in events]
        assert (members[0], members[-1]) == ("task", "statusUpdate")
        assert "artifactUpdate" in members
        subscribe = f"{prefix}/tasks/{events[0][1]['task']['id']}:subscribe"
        for method in ("GET", "POST"):
            for after in (0, 2, len(events)):
                again = await http.request(
                    method,
                    subscribe + ("?shape=specification" if "kind" in str(sent) else ""),
                    headers={"Last-Event-ID": str(after)},
                )
                assert frames(again.text) == events[after:]
        refused = await http.post(subscribe)
        assert reason(refused, 400) == "UNSUPPORTED_OPERATION"


@pytest.mark.parametrize("prefix", ["", "/v1"])
async def test_the_task_goes_on_when_its_client_is_gone(prefix: str) -> None:
    gate = anyio.Event()
    async with served([TextDelta("one "), gate, TextDelta("two"), DONE]) as (http, _):
        sent = new() if not prefix else text()
        async with http.stream("POST", f"{prefix}/message:stream", json=sent) as streaming:
            task_id = (await first_event(streaming.aiter_lines()))["task"]["id"]
        async with http.stream("GET", f"{prefix}/tasks/{task_id}:subscribe") as streaming:
            lines = streaming.aiter_lines()
            event = await first_event(lines)
            assert event["task"]["id"] == task_id
            async for line in lines:
                if line == ": keep-alive":
                    break
            gate.set()
            rest = "\n".join([line async for line in lines])
        last = json.loads(rest.strip().rsplit("data: ", 1)[-1])
        assert last["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"


@pytest.mark.parametrize("prefix", ["", "/v1", "/acme"])
async def test_a_running_task_is_canceled(prefix: str) -> None:
    sent = text() if prefix == "/v1" else new()
    async with (
        served([TextDelta("one"), anyio.Event()]) as (http, _),
        http.stream("POST", f"{prefix}/message:stream", json=sent) as streaming,
    ):
        lines = streaming.aiter_lines()
        task_id = (await first_event(lines))["task"]["id"]
        canceled = await http.post(f"{prefix}/tasks/{task_id}:cancel")
        spelled = "TASK_STATE_CANCELLED" if prefix == "/v1" else "TASK_STATE_CANCELED"
        assert canceled.json()["status"]["state"] == spelled
        rest = "\n".join([line async for line in lines])
        assert ("canceled" if prefix == "/v1" else spelled) in rest
        again = await http.post(f"{prefix}/tasks/{task_id}:cancel", json={})
        assert reason(again, 400) == "TASK_NOT_CANCELABLE"


async def test_tasks_are_listed_by_their_query() -> None:
    async with served() as (http, _):
        ids = [
            (await http.post("/message:send", json=new(message_id=f"m{n}", contextId=context)))
            .json()["task"]["id"]
            for n, context in enumerate(("a", "b b", "a"))
        ]  # fmt: skip
        page = (await http.get("/tasks?pageSize=2&includeArtifacts=true")).json()
        assert [task["id"] for task in page["tasks"]] == [ids[2], ids[1]]
        assert (page["pageSize"], page["totalSize"]) == (2, 3)
        assert page["tasks"][0]["artifacts"]
        token = page["nextPageToken"]
        rest = (await http.get("/tasks", params={"page_token": token, "page_size": 2})).json()
        assert [task["id"] for task in rest["tasks"]] == [ids[0]]
        filtered = (await http.get("/tasks?contextId=b%20b&status=TASK_STATE_COMPLETED")).json()
        assert [task["id"] for task in filtered["tasks"]] == [ids[1]]
        moment = page["tasks"][0]["status"]["timestamp"]
        later = await http.get("/tasks", params={"statusTimestampAfter": moment})
        assert ids[2] in [task["id"] for task in later.json()["tasks"]]
        assert (await http.get("/acme/tasks")).json()["totalSize"] == 0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("pageSize=0", "pageSize"),
        ("pageSize=101", "pageSize"),
        ("pageSize=many", "pageSize"),
        ("historyLength=-1", "historyLength"),
        ("status=DONE", "status"),
        ("statusTimestampAfter=yesterday", "statusTimestampAfter"),
        ("includeArtifacts=yes", "includeArtifacts"),
        ("pageToken=nonsense", "pageToken"),
        ("tenant=nobody", "tenant"),
    ],
)
async def test_a_wrong_query_names_the_parameter(query: str, field: str) -> None:
    async with served() as (http, _):
        response = await http.get(f"/tasks?{query}")
    assert reason(response, 400) == "INVALID_PARAMS"
    (violation,) = response.json()["error"]["details"][1]["fieldViolations"]
    assert violation["field"] == field


async def test_0_3_lists_tasks_page_by_page() -> None:
    async with served() as (http, _):
        for number in range(3):
            await http.post("/v1/message:send", json=text(message_id=f"m{number}"))
        listed, url = [], "/v1/tasks?pageSize=2"
        while url:
            response = await http.get(url)
            listed += response.json()
            following = response.links.get("next")
            url = str(response.url.join(following["url"])) if following else ""
    assert len({task["id"] for task in listed}) == 3
    assert {task["kind"] for task in listed} == {"task"}


@pytest.mark.parametrize("prefix", ["", "/acme", "/v1"])
async def test_push_configurations_are_kept(prefix: str) -> None:
    gate = anyio.Event()
    async with served([gate, DONE]) as (http, _):
        sent = text() if prefix == "/v1" else new()
        configuration = {"blocking": False, "returnImmediately": True}
        response = await http.post(
            f"{prefix}/message:send", json={**sent, "configuration": configuration}
        )
        path = f"{prefix}/tasks/{response.json()['task']['id']}/pushNotificationConfigs"
        config = {"id": "a:b/c", "url": "http://127.0.0.1:9000/"}
        body = {"config": {"pushNotificationConfig": config}} if prefix == "/v1" else config
        created = await http.post(path, json=body)
        assert created.status_code == 200, created.text
        query = "?shape=specification" if prefix == "/v1" else ""
        one = f"{path}/a:b%2Fc{query}"
        assert (await http.get(one)).json() == created.json()
        listed = (await http.get(path + query)).json()
        assert (listed if prefix == "/v1" else listed["configs"]) == [created.json()]
        assert (await http.delete(one)).json() == {}
        assert reason(await http.get(one), 404) == "TASK_NOT_FOUND"
        gate.set()


@pytest.mark.parametrize("prefix", ["", "/v1"])
async def test_what_is_not_there_is_not_found(prefix: str) -> None:
    async with served() as (http, _):
        for method, path in [
            ("GET", "/tasks/nowhere"),
            ("GET", "/tasks/a%2Fb:c%20%C3%A9"),
            ("POST", "/tasks/nowhere:cancel"),
            ("POST", "/tasks/nowhere:subscribe"),
            ("GET", "/tasks/nowhere:subscribe"),
            ("GET", "/tasks/nowhere/pushNotificationConfigs"),
            ("DELETE", "/tasks/nowhere/pushNotificationConfigs/x"),
        ]:
            response = await http.request(method, prefix + path)
            assert reason(response, 404) == "TASK_NOT_FOUND", path
            assert response.json()["error"]["status"] == "NOT_FOUND"
            assert response.headers["content-type"] == "application/json"


async def test_another_tenants_task_is_not_there() -> None:
    async with served() as (http, script):
        task = (await http.post("/acme/message:send", json=new())).json()["task"]
        assert script.requests[0].tenant == "acme"
        assert (await http.get(f"/acme/tasks/{task['id']}")).json() == task
        assert (await http.get(f"/tasks/{task['id']}?tenant=acme")).json() == task
        for path in (f"/tasks/{task['id']}", f"/v1/tasks/{task['id']}"):
            assert reason(await http.get(path), 404) == "TASK_NOT_FOUND"
        assert reason(await http.get(f"/nobody/tasks/{task['id']}"), 404) == "METHOD_NOT_FOUND"
        refused = await http.post("/acme/message:send", json={**new(), "tenant": "other"})
        assert reason(refused, 400) == "INVALID_PARAMS"


async def test_what_is_too_much_is_refused() -> None:
    limits = {"body_bytes": 1000, "running_tasks": 1, "queue_seconds": 0}

    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b" " * 400

    async with (
        served([anyio.Event()], limits=limits) as (http, _),
        http.stream("POST", "/message:stream", json=new()) as streaming,
    ):
        await first_event(streaming.aiter_lines())
        large = await http.post("/message:send", json=new("x" * 1000))
        assert reason(large, 413) == "PAYLOAD_TOO_LARGE"
        headers = {"content-type": "application/json"}
        chunked = await http.post("/v1/message:send", content=body(), headers=headers)
        assert reason(chunked, 413) == "PAYLOAD_TOO_LARGE"
        for path in ("/message:send", "/message:stream"):
            busy = await http.post(path, json=new(message_id="m2"))
            assert reason(busy, 429) == "TOO_MANY_TASKS"
            assert int(busy.headers["retry-after"]) > 0


async def test_the_same_message_is_the_same_task() -> None:
    async with served() as (http, script):
        headers = {"Idempotency-Key": "key-1"}
        first = await http.post("/message:send", json=new(), headers=headers)
        again = await http.post("/message:send", json=new(), headers=headers)
        other = await http.post("/message:send", json=new("other"), headers=headers)
        by_id = [
            (await http.post("/message:send", json=new(message_id=KEY))).json() for _ in range(2)
        ]
    assert first.json()["task"]["id"] == again.json()["task"]["id"]
    assert reason(other, 409) == "KEY_REUSED"
    assert by_id[0] == by_id[1]
    assert len(script.requests) == 2


async def test_extensions_in_use_are_named_in_the_answer() -> None:
    async with served() as (http, _):
        headers = {"A2A-Extensions": f"{EXTENSION}, urn:unknown"}
        for path in ("/message:send", "/message:stream"):
            response = await http.post(path, json=new(), headers=headers)
            assert response.headers["a2a-extensions"] == EXTENSION


async def test_head_and_options_are_answered() -> None:
    async with served() as (http, _):
        task = (await http.post("/message:send", json=new())).json()["task"]
        for path in (f"/tasks/{task['id']}", "/tasks", f"/v1/tasks/{task['id']}"):
            got, head = await http.get(path), await http.head(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == got.headers["content-length"]
        for path in (f"/tasks/{task['id']}:subscribe", "/message:send"):
            assert (await http.head(path)).status_code == 405
            assert (await http.options(path)).status_code == 204


async def test_the_card_names_the_binding() -> None:
    async with served() as (http, _):
        card = (await http.get("/.well-known/agent-card.json")).json()
        bound = [
            (interface["protocolVersion"], interface.get("tenant"), interface["url"])
            for interface in card["supportedInterfaces"]
            if interface["protocolBinding"] == "HTTP+JSON"
        ]
        url = str(http.base_url).rstrip("/")
        assert bound == [("1.0", None, url), ("0.3", None, url), ("1.0", "acme", url)]
        older = [
            entry["url"] for entry in card["additionalInterfaces"] if "+" in entry["transport"]
        ]
        assert older == [url]


@pytest.mark.parametrize("prefix", ["", "/acme"])
async def test_tasks_and_contexts_are_deleted(prefix: str) -> None:
    """Operations of ours; a task that runs is not deleted."""
    async with served(ANSWER, ANSWER, [anyio.Event()]) as (http, _):
        first, second = [
            (await http.post(f"{prefix}/message:send", json=new(contextId="a b"))).json()["task"]
            for _ in range(2)
        ]
        one = f"{prefix}/tasks/{first['id']}"
        assert (await http.delete(one)).status_code == 204
        assert reason(await http.get(one), 404) == "TASK_NOT_FOUND"
        assert reason(await http.delete(one), 404) == "TASK_NOT_FOUND"
        assert (await http.delete(f"{prefix}/contexts/a%20b")).status_code == 204
        gone = await http.get(f"{prefix}/tasks/{second['id']}")
        assert reason(gone, 404) == "TASK_NOT_FOUND"
        async with http.stream("POST", f"{prefix}/message:stream", json=new()) as streaming:
            running = (await first_event(streaming.aiter_lines()))["task"]
            refused = await http.delete(f"{prefix}/tasks/{running['id']}")
            assert reason(refused, 400) == "UNSUPPORTED_OPERATION"
            refused = await http.delete(f"{prefix}/contexts/{running['contextId']}")
            assert reason(refused, 400) == "UNSUPPORTED_OPERATION"
