"""The HTTP+JSON binding over a service that does what a test says."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from agent import errors
from agent.caller import Caller
from agent.card import load_card
from agent.card_dialects import Features
from agent.errors import AgentError
from agent.extensions import Extensions
from agent.http_json.routes import HttpJsonRoute
from agent.model import (
    Event,
    Message,
    Part,
    PushConfig,
    PushConfigPage,
    Role,
    StatusUpdate,
    Task,
    TaskPage,
    TaskState,
    TaskStatus,
)
from agent.operations import Operations
from agent.settings import Settings
from tests.fakes.gates import open_gate

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from starlette.requests import Request

    from agent.dialects import Encoder
    from agent.following import Numbered

pytestmark = pytest.mark.anyio

TASK = Task("t-1", "c-1", TaskStatus(TaskState.COMPLETED))
ANSWER = Message("m-2", Role.AGENT, [Part(text="yes")])
CONFIG = PushConfig(url="https://example.com", version="1.0", id="p-1", task_id="t-1")
SENT = {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}}
SENT_0_3 = {
    "message": {
        "kind": "message",
        "messageId": "m",
        "role": "user",
        "parts": [{"kind": "text", "text": "hi"}],
    }
}
SENT_PROTO = {"message": {"messageId": "m", "role": "ROLE_USER", "content": [{"text": "hi"}]}}
A2A = "application/a2a+json"
EXTENSION = "https://example.com/extension"


class Told:
    """Follows what a test tells: events, an error, or silence."""

    def __init__(self, *steps: Event | AgentError | None) -> None:
        self.steps = steps

    async def follow(
        self, encoder: Encoder[Any], idle: float
    ) -> AsyncGenerator[list[Numbered[Any]]]:
        """Tell one step after another."""
        assert idle == 0.5
        for number, step in enumerate(self.steps, 1):
            if isinstance(step, AgentError):
                raise step
            yield [] if step is None else [(number, encoder.event(step))]


class FakeService:
    """Answers as it is told and remembers what it was asked; an error is raised by whatever is called."""

    def __init__(self, answer: Any = TASK) -> None:
        self.answer = answer
        self.asked: list[Any] = []
        self.caller = Caller("nobody")

    def check_tenant(self, caller: Caller, tenant: str) -> Caller:
        """Take every tenant."""
        return Caller(caller.owner, tenant)

    def __getattr__(self, name: str) -> Any:
        async def operation(caller: Caller, *request: Any) -> Any:
            self.caller = caller
            self.asked.append((name, *request))
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

        return operation


@asynccontextmanager
async def served(service: FakeService, **a2a: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the binding, and after it a router that takes every path."""
    settings = Settings.model_validate(
        {
            "a2a": {"tenants": ["acme"], "keep_alive_seconds": 0.5, **a2a},
            "limits": {"body_bytes": 1000},
        }
    )
    card = load_card(
        settings,
        Features(input_modes=("text/plain",), output_modes=("text/plain",)),
        datetime.now(UTC),
    )
    actual: Any = service
    operations = Operations(actual, card, Extensions(settings.a2a.extensions))

    async def other(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("another router")

    app = Starlette(
        routes=[
            HttpJsonRoute(operations, open_gate(), settings),
            Route("/{path:path}", other, methods=["GET", "POST"]),
        ]
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


def error_of(response: httpx.Response) -> Any:
    error = response.json()["error"]
    assert error["code"] == response.status_code
    return error


def reason_of(response: httpx.Response) -> str:
    reason: str = error_of(response)["details"][0]["reason"]
    return reason


PAGE = TaskPage([TASK], "next", 50, 2)
CONFIGS = PushConfigPage([CONFIG])


@pytest.mark.parametrize("prefix", ["", "/acme", "/v1"])
@pytest.mark.parametrize(
    ("method", "path", "body", "answer", "operation"),
    [
        ("POST", "/message:send", SENT, TASK, "send"),
        ("POST", "/message:stream", SENT, Told(TASK), "stream"),
        ("GET", "/tasks/t-1", None, TASK, "get"),
        ("GET", "/tasks", None, PAGE, "list"),
        ("POST", "/tasks/t-1:cancel", None, TASK, "cancel"),
        ("POST", "/tasks/t-1:cancel", {}, TASK, "cancel"),
        ("GET", "/tasks/t-1:subscribe", None, Told(TASK), "subscribe"),
        ("POST", "/tasks/t-1:subscribe", None, Told(TASK), "subscribe"),
        (
            "POST",
            "/tasks/t-1/pushNotificationConfigs",
            {"url": "https://example.com"},
            CONFIG,
            "create_push_config",
        ),
        ("GET", "/tasks/t-1/pushNotificationConfigs/p-1", None, CONFIG, "get_push_config"),
        ("GET", "/tasks/t-1/pushNotificationConfigs", None, CONFIGS, "list_push_configs"),
        ("DELETE", "/tasks/t-1/pushNotificationConfigs/p-1", None, None, "delete_push_config"),
    ],
)
async def test_a_path_and_a_method_name_an_operation(
    prefix: str, method: str, path: str, body: Any, answer: Any, operation: str
) -> None:
    """In every version and for every tenant."""
    service = FakeService(answer)
    if prefix == "/v1" and body is SENT:
        body = SENT_0_3
    async with served(service) as client:
        response = await client.request(method, prefix + path, json=body)
    assert response.status_code == 200, response.text
    ((called, request, *size),) = service.asked
    assert called == operation
    assert all(size), "of a message"
    tenant = "acme" if prefix == "/acme" else ""
    assert request.tenant == tenant
    if hasattr(request, "task_id"):
        assert request.task_id == "t-1"
    elif hasattr(request, "id"):
        assert request.id == "t-1"


@pytest.mark.parametrize(("prefix", "tenant"), [("", ""), ("/acme", "acme")])
async def test_tasks_and_contexts_are_deleted(prefix: str, tenant: str) -> None:
    service = FakeService(None)
    async with served(service) as client:
        one = await client.delete(f"{prefix}/tasks/t%2F1")
        all_ = await client.delete(f"{prefix}/contexts/c-1")
    assert (one.status_code, one.content) == (204, b"")
    assert (all_.status_code, all_.content) == (204, b"")
    (_, task), context = service.asked
    assert (task.id, task.tenant) == ("t/1", tenant)
    assert context == ("delete_context", "c-1", tenant)


async def test_the_tenant_may_stand_in_the_query_but_not_contradict_the_path() -> None:
    service = FakeService()
    async with served(service) as client:
        await client.get("/tasks/t-1?tenant=acme")
        refused = await client.get("/acme/tasks/t-1?tenant=other")
    ((_, request),) = service.asked
    assert request.tenant == "acme"
    assert error_of(refused)["details"][1]["fieldViolations"][0]["field"] == "tenant"


@pytest.mark.parametrize(
    ("answer", "member"), [(TASK, "task"), (ANSWER, "message")], ids=["task", "message"]
)
@pytest.mark.parametrize("sent", [SENT, SENT_0_3, SENT_PROTO], ids=["1.0", "text", "proto"])
async def test_sending_is_answered_in_the_shape_of_the_request(
    sent: Any, answer: Any, member: str
) -> None:
    async with served(FakeService(answer)) as client:
        path = "/message:send" if sent is SENT else "/v1/message:send"
        said = (await client.post(path, json=sent)).json()
    assert list(said) == [member]
    assert said[member].get("kind") == (member if sent is SENT_0_3 else None)
    if member == "task":
        expected = "completed" if sent is SENT_0_3 else "TASK_STATE_COMPLETED"
        assert said["task"]["status"]["state"] == expected
    else:
        expected = "agent" if sent is SENT_0_3 else "ROLE_AGENT"
        assert said["message"]["role"] == expected
        assert ("content" in said["message"]) is (sent is SENT_PROTO)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("query", "state"),
    [
        ("", "TASK_STATE_COMPLETED"),
        ("?shape=proto", "TASK_STATE_COMPLETED"),
        ("?shape=specification", "completed"),
    ],
)
async def test_without_a_body_0_3_answers_in_the_shape_that_the_query_names(
    method: str, query: str, state: str
) -> None:
    """The SDKs of 0.3 parse the shape of the Protocol Buffers file."""
    path = "/v1/tasks/t-1" if method == "GET" else "/v1/tasks/t-1:cancel"
    async with served(FakeService()) as client:
        task = (await client.request(method, path + query)).json()
    assert task["status"]["state"] == state
    assert task.get("kind") == ("task" if state == "completed" else None)


async def test_a_shape_that_does_not_exist_is_refused() -> None:
    async with served(FakeService()) as client:
        response = await client.get("/v1/tasks/t-1?shape=round")
    assert error_of(response)["details"][1]["fieldViolations"][0]["field"] == "shape"


async def test_0_3_lists_tasks_as_an_array_with_a_link_to_the_next() -> None:
    async with served(FakeService(PAGE)) as client:
        response = await client.get("/v1/tasks?contextId=c-1")
        proto = await client.get("/v1/tasks?shape=proto")
    assert [task["kind"] for task in response.json()] == ["task"]
    assert response.links["next"]["url"] == "?contextId=c-1&pageToken=next"
    assert proto.json()["nextPageToken"] == "next"
    assert proto.json()["tasks"][0]["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_0_3_lists_push_configurations_in_both_shapes() -> None:
    async with served(FakeService(CONFIGS)) as client:
        path = "/v1/tasks/t-1/pushNotificationConfigs"
        proto = (await client.get(path)).json()
        text = (await client.get(f"{path}?shape=specification")).json()
    assert proto["configs"][0]["name"] == "tasks/t-1/pushNotificationConfigs/p-1"
    assert text[0]["taskId"] == "t-1"


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({"config": {"pushNotificationConfig": {"url": "https://example.com"}}}, "taskId"),
        (
            {
                "parent": "tasks/t-1",
                "config": {"pushNotificationConfig": {"url": "https://example.com"}},
            },
            "name",
        ),
    ],
    ids=["text", "proto"],
)
async def test_0_3_answers_a_push_configuration_in_its_shape(body: Any, member: str) -> None:
    service = FakeService(CONFIG)
    async with served(service) as client:
        said = (await client.post("/v1/tasks/t-1/pushNotificationConfigs", json=body)).json()
    assert member in said
    ((_, config),) = service.asked
    assert (config.task_id, config.url) == ("t-1", "https://example.com")


@pytest.mark.parametrize(
    ("path", "sent", "members"),
    [
        ("/message:stream", SENT, [None, None]),
        ("/v1/message:stream", SENT_0_3, ["task", "status-update"]),
        ("/v1/message:stream", SENT_PROTO, [None, None]),
    ],
    ids=["1.0", "text", "proto"],
)
async def test_a_stream_has_ids_and_bare_events(path: str, sent: Any, members: list[Any]) -> None:
    update = StatusUpdate("t-1", "c-1", TaskStatus(TaskState.COMPLETED))
    async with served(FakeService(Told(TASK, None, update))) as client:
        response = await client.post(path, json=sent)
    assert response.headers["content-type"].startswith("text/event-stream")
    first, keep_alive, last = response.text.removesuffix("\n\n").split("\n\n")
    assert keep_alive == ": keep-alive"
    (id_1, data_1), (id_2, data_2) = first.split("\n"), last.split("\n")
    assert (id_1, id_2) == ("id: 1", "id: 3")
    task = json.loads(data_1.removeprefix("data: "))
    status = json.loads(data_2.removeprefix("data: "))
    assert [list(task), list(status)] == [["task"], ["statusUpdate"]]
    assert [task["task"].get("kind"), status["statusUpdate"].get("kind")] == members
    if path.startswith("/v1"):
        assert status["statusUpdate"]["final"] is True


@pytest.mark.parametrize("prefix", ["", "/v1"])
async def test_a_stream_that_breaks_ends_with_the_error(prefix: str) -> None:
    async with served(FakeService(Told(TASK, errors.StreamEnded()))) as client:
        response = await client.get(f"{prefix}/tasks/t-1:subscribe")
    assert response.status_code == 200
    _, last, rest = response.text.split("\n\n")
    data, kind = last.split("\n")
    assert (kind, rest) == ("event: error", "")
    error = json.loads(data.removeprefix("data: "))["error"]
    assert (error["code"], error["details"][0]["reason"]) == (409, "STREAM_ENDED")


@pytest.mark.parametrize(
    ("header", "value"), [("Last-Event-ID", "17"), ("Idempotency-Key", "key-1")]
)
async def test_service_parameters_reach_the_operation(header: str, value: str) -> None:
    service = FakeService(Told(TASK))
    async with served(service) as client:
        response = await client.post("/message:stream", json=SENT, headers={header: value})
        await client.get("/tasks/t-1:subscribe", headers={"Last-Event-ID": "17"})
    assert response.status_code == 200
    (_, sent, _), (_, subscribed) = service.asked
    assert value in {str(sent.last_event_id), sent.idempotency_key}
    assert subscribed.last_event_id == 17


@pytest.mark.parametrize("prefix", ["", "/v1"])
@pytest.mark.parametrize(
    ("error", "code", "status", "reason"),
    [
        (errors.TaskNotFound(), 404, "NOT_FOUND", "TASK_NOT_FOUND"),
        (errors.TaskNotCancelable(), 400, "FAILED_PRECONDITION", "TASK_NOT_CANCELABLE"),
        (errors.InvalidParams("id", "is bad"), 400, "INVALID_ARGUMENT", "INVALID_PARAMS"),
        (errors.TooManyTasks(7), 429, "RESOURCE_EXHAUSTED", "TOO_MANY_TASKS"),
        (errors.ServerStopping(3), 503, "UNAVAILABLE", "SERVER_STOPPING"),
        (errors.StateUnavailable(), 503, "UNAVAILABLE", "STATE_UNAVAILABLE"),
        (errors.KeyReused(), 409, "ALREADY_EXISTS", "KEY_REUSED"),
        (errors.StackUnavailable(), 500, "INTERNAL", "INTERNAL_ERROR"),
        (RuntimeError("a secret"), 500, "INTERNAL", "INTERNAL_ERROR"),
    ],
)
async def test_an_error_of_the_service_is_told(
    prefix: str, error: Exception, code: int, status: str, reason: str
) -> None:
    async with served(FakeService(error)) as client:
        answers = [
            await client.get(f"{prefix}/tasks/t-1"),
            await client.get(f"{prefix}/tasks/t-1:subscribe"),
        ]
    for response in answers:
        assert response.status_code == code
        assert error_of(response)["status"] == status
        assert reason_of(response) == reason
        assert "secret" not in response.text
        assert ("retry-after" in response.headers) is (code in {429, 503})


@pytest.mark.parametrize("path", ["/message:send", "/v1/message:stream"])
@pytest.mark.parametrize(
    ("body", "content_type", "code", "reason"),
    [
        (b"{}", "text/plain", 415, "CONTENT_TYPE_NOT_SUPPORTED"),
        (b"{}", "", 415, "CONTENT_TYPE_NOT_SUPPORTED"),
        (b"", "application/json", 400, "PARSE_ERROR"),
        (b"{", "application/json", 400, "PARSE_ERROR"),
        (b'{"message":"\xff"}', "application/json", 400, "PARSE_ERROR"),
        (b"[" * 200 + b"]" * 200, "application/json", 400, "INVALID_REQUEST"),
        (b"[]", "application/json", 400, "INVALID_PARAMS"),
        (b"{}", "application/json", 400, "INVALID_PARAMS"),
        (b"x" * 1001, "application/json", 413, "PAYLOAD_TOO_LARGE"),
    ],
)
async def test_a_body_that_cannot_be_served_is_refused(
    path: str, body: bytes, content_type: str, code: int, reason: str
) -> None:
    service = FakeService()
    async with served(service) as client:
        headers = {"content-type": content_type} if content_type else {}
        response = await client.post(path, content=body, headers=headers)
    assert (response.status_code, reason_of(response)) == (code, reason)
    assert not service.asked


async def test_a_body_where_none_is_needed_must_be_json_too() -> None:
    async with served(FakeService()) as client:
        plain = await client.post("/tasks/t-1:cancel", content=b"{}")
        empty = await client.post("/tasks/t-1:cancel", headers={"content-type": "text/plain"})
    assert (plain.status_code, empty.status_code) == (415, 200)


@pytest.mark.parametrize(
    ("headers", "content_type"),
    [
        ({}, "application/json"),
        ({"content-type": A2A}, A2A),
        ({"accept": A2A, "content-type": "application/json"}, A2A),
        ({"accept": "application/json", "content-type": A2A}, "application/json"),
    ],
)
@pytest.mark.parametrize("error", [False, True])
async def test_the_answer_has_the_media_type_that_is_asked_for(
    headers: dict[str, str], content_type: str, error: bool
) -> None:
    service = FakeService(errors.TaskNotFound() if error else TASK)
    async with served(service) as client:
        response = await client.get("/tasks/t-1", headers=headers)
    assert response.headers["content-type"] == content_type


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/tasks/t-1", "DELETE, GET, HEAD, OPTIONS"),
        ("DELETE", "/v1/tasks/t-1", "GET, HEAD, OPTIONS"),
        ("GET", "/message:send", "OPTIONS, POST"),
        ("HEAD", "/tasks/t-1:subscribe", "GET, OPTIONS, POST"),
        ("BREW", "/tasks", "GET, HEAD, OPTIONS"),
        ("POST", "/tasks/t-1:unknown", "DELETE, GET, HEAD, OPTIONS"),
    ],
)
async def test_a_method_that_a_path_does_not_have_is_refused(
    method: str, path: str, allow: str
) -> None:
    service = FakeService()
    async with served(service) as client:
        response = await client.request(method, path)
    assert (response.status_code, response.headers["allow"]) == (405, allow)
    if method != "HEAD":
        assert reason_of(response) == "METHOD_NOT_ALLOWED"
    assert not service.asked


async def test_options_names_the_methods() -> None:
    async with served(FakeService()) as client:
        response = await client.options("/tasks/t-1")
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["allow"] == "DELETE, GET, HEAD, OPTIONS"


@pytest.mark.parametrize("answer", [TASK, errors.TaskNotFound()])
async def test_head_answers_what_get_does_without_the_body(answer: Any) -> None:
    async with served(FakeService(answer)) as client:
        got = await client.get("/tasks/t-1")
        head = await client.head("/tasks/t-1")
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-length"] == str(len(got.content))


@pytest.mark.parametrize("path", ["/tasks/a/b", "/other/tasks/a", "/v1/message:x"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_a_path_where_nothing_is_answers_404(method: str, path: str) -> None:
    async with served(FakeService()) as client:
        response = await client.request(method, path)
    assert (response.status_code, reason_of(response)) == (404, "METHOD_NOT_FOUND")


@pytest.mark.parametrize("path", ["/", "/v1/query", "/v1/models", "/v1alpha/agents", "/acme/x"])
async def test_other_routers_have_the_other_paths(path: str) -> None:
    async with served(FakeService()) as client:
        assert (await client.get(path)).text == "another router"


@pytest.mark.parametrize(
    ("path", "version", "strict", "code"),
    [
        ("/tasks/t", None, False, 200),
        ("/tasks/t", "0.3", False, 200),
        ("/tasks/t", "1.0.4", True, 200),
        ("/tasks/t", "0.3", True, 400),
        ("/tasks/t", None, True, 400),
        ("/tasks/t", "2.0", False, 400),
        ("/v1/tasks/t", None, True, 200),
        ("/v1/tasks/t", "0.3.0", True, 200),
        ("/v1/tasks/t", "1.0", True, 400),
        ("/v1/tasks/t", "0.2", False, 400),
    ],
)
async def test_the_version_of_the_request_is_checked(
    path: str, version: str | None, strict: bool, code: int
) -> None:
    async with served(FakeService(), strict_version=strict) as client:
        headers = {} if version is None else {"A2A-Version": version}
        answers = [
            await client.get(path, headers=headers),
            await client.get(path, params={} if version is None else {"A2A-Version": version}),
        ]
    for response in answers:
        assert response.status_code == code
        if code == 400:
            assert reason_of(response) == "VERSION_NOT_SUPPORTED"


async def test_extensions_in_use_are_named_in_the_answer() -> None:
    declared = [{"uri": EXTENSION}]
    async with served(FakeService(Told(TASK)), extensions=declared) as client:
        headers = {"X-A2A-Extensions": f"urn:unknown, {EXTENSION}"}
        streamed = await client.post("/v1/message:stream", json=SENT_0_3, headers=headers)
    async with served(FakeService(errors.TaskNotFound()), extensions=declared) as client:
        headers = {"A2A-Extensions": EXTENSION}
        failed = await client.get("/tasks/t-1", headers=headers)
    for response in (streamed, failed):
        assert response.headers["a2a-extensions"] == EXTENSION
        assert response.headers["x-a2a-extensions"] == EXTENSION


async def test_an_extension_that_is_required_must_be_named() -> None:
    async with served(FakeService(), extensions=[{"uri": EXTENSION, "required": True}]) as client:
        refused = await client.get("/tasks/t-1")
        taken = await client.get("/tasks/t-1", headers={"A2A-Extensions": EXTENSION})
    assert (refused.status_code, reason_of(refused)) == (400, "EXTENSION_SUPPORT_REQUIRED")
    assert taken.status_code == 200


@pytest.mark.parametrize("path", ["/extendedAgentCard", "/v1/card", "/acme/extendedAgentCard"])
async def test_there_is_no_extended_card_unless_there_is_one(path: str) -> None:
    async with served(FakeService()) as client:
        response = await client.get(path)
    assert response.status_code == 400
    assert reason_of(response) in {
        "UNSUPPORTED_OPERATION",
        "EXTENDED_AGENT_CARD_NOT_CONFIGURED",
    }
