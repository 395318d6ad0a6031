"""HTTP+JSON of A2A 1.0: verbs, paths, queries, media types and errors (section 11)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from agent.stacks import AuthRequired, InputRequired, TextDelta
from tests.conformance._requirements import requirement
from tests.conformance._requirements.row import HTTP_JSON
from tests.conformance.client import in_process
from tests.conformance.reply import RestReply
from tests.conformance.wire_1_0 import HTTP_1_0
from tests.fakes.scripted_stack import ANSWER, DONE, Script

if TYPE_CHECKING:
    from agent.stacks import TurnEvent
    from tests.conformance.client import Client
    from tests.conformance.wire import Json, Wire

pytestmark = pytest.mark.anyio

BINDING = HTTP_JSON
A2A_JSON = "application/a2a+json"
HOOK = "http://127.0.0.1:8999/hook"
PUSH: dict[str, Any] = {"push": {"allow": ("127.0.0.1",)}}


@pytest.fixture
def client(answering: dict[Wire, Client]) -> Client:
    return answering[HTTP_1_0]


async def asked(
    client: Client, verb: str, url: str, body: Json = None, **headers: str
) -> RestReply:
    """Send one request, as it is written here."""
    named = {"A2A-Version": "1.0"} | {n.replace("_", "-"): v for n, v in headers.items()}
    if body is not None:
        named = {"Content-Type": A2A_JSON} | named
    content = None if body is None else json.dumps(body)
    response = await client.http.request(verb, url, content=content, headers=named)
    return RestReply(response, client.wire)


@requirement("1.0/http-paths", "1.0/method-names", "1.0/http-stream")
async def test_every_operation_has_its_verb_and_path() -> None:
    script = Script([InputRequired("Which?")])
    async with in_process(script, HTTP_1_0, **PUSH) as client:
        task = (await asked(client, "POST", "/message:send", client.params("hi"))).sent["task"]
        path = f"/tasks/{task['id']}"
        assert (await asked(client, "GET", path)).task == task
        listed = await asked(client, "GET", "/tasks")
        assert listed.result["totalSize"] == 1
        config = {"id": "mine", "url": HOOK}
        configs = f"{path}/pushNotificationConfigs"
        created = (await asked(client, "POST", configs, config)).result
        assert created == {"taskId": task["id"], "id": "mine", "url": HOOK}
        assert (await asked(client, "GET", f"{configs}/mine")).result == created
        assert (await asked(client, "GET", configs)).result["configs"] == [created]
        deleted = await client.http.delete(f"{configs}/mine")
        assert deleted.status_code in {200, 204}
        canceled = await asked(client, "POST", f"{path}:cancel", {})
        assert canceled.task["status"]["state"] == "TASK_STATE_CANCELED"
        assert (await asked(client, "POST", f"{path}:subscribe", {})).code == -32004
        assert (await asked(client, "GET", "/extendedAgentCard")).code == -32004
        streamed = await asked(client, "POST", "/message:stream", client.params("hi"))
        assert streamed.events()


@pytest.mark.parametrize("verb", ["GET", "POST"])
@requirement("1.0/http-subscribe-get", "1.0/http-paths", "1.0/subscribe-ended")
async def test_subscribing_works_with_either_verb(client: Client, verb: str) -> None:
    """The table of methods has POST, the proto GET."""
    task = await client.send_task("hi")
    assert (await asked(client, verb, f"/tasks/{task['id']}:subscribe")).code == -32004
    assert (await asked(client, verb, "/tasks/nowhere:subscribe")).code == -32001


@requirement("1.0/http-paths", "1.0/cancel-ended")
async def test_an_empty_body_is_good_enough_where_nothing_is_needed(client: Client) -> None:
    task = await client.send_task("hi")
    assert (await asked(client, "POST", f"/tasks/{task['id']}:cancel")).code == -32002


@pytest.mark.parametrize("asked_for", [None, "*/*", A2A_JSON, f"{A2A_JSON}, text/event-stream"])
@requirement("1.0/http-media-type")
async def test_requests_and_answers_are_a2a_json(client: Client, asked_for: str | None) -> None:
    """The answers of errors too."""
    headers = {} if asked_for is None else {"Accept": asked_for}
    messages: list[Json] = [client.params("hi"), {}]
    for message in messages:
        reply = await asked(client, "POST", "/message:send", message, **headers)
        assert reply.headers["content-type"] == A2A_JSON
        assert reply.is_error is (message == {})


@requirement("1.0/http-media-type")
async def test_what_is_got_is_a2a_json_for_who_asks_for_it(client: Client) -> None:
    task = await client.send_task("hi")
    for path in (f"/tasks/{task['id']}", "/tasks", "/tasks/nowhere"):
        reply = await asked(client, "GET", path, Accept=A2A_JSON)
        assert reply.headers["content-type"] == A2A_JSON
        reply = await asked(client, "GET", path)
        assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
@requirement("1.0/http-json")
async def test_plain_json_is_understood_and_answered(client: Client, content_type: str) -> None:
    reply = await asked(
        client, "POST", "/message:send", client.params("hi"), Content_Type=content_type
    )
    assert reply.sent
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
@requirement("1.0/content-type-code", "1.0/media-types")
async def test_a_body_of_another_type_is_refused(client: Client, content_type: str) -> None:
    reply = await asked(
        client, "POST", "/message:send", client.params("hi"), Content_Type=content_type
    )
    assert (reply.status, reply.code) == (415, -32005)
    assert client.script.requests == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("pageSize=0", "pageSize"),
        ("pageSize=101", "pageSize"),
        ("pageSize=ten", "pageSize"),
        ("historyLength=-1", "historyLength"),
        ("includeArtifacts=TRUE!", "includeArtifacts"),
        ("status=TASK_STATE_RUNNING", "status"),
        ("statusTimestampAfter=yesterday", "statusTimestampAfter"),
        ("pageToken=nonsense", "pageToken"),
    ],
)
@requirement(
    "1.0/http-query-types", "1.0/http-query", "1.0/list-validation", "1.0/http-bad-request"
)
async def test_a_wrong_parameter_of_the_query_is_named(
    client: Client, query: str, field: str
) -> None:
    reply = await asked(client, "GET", f"/tasks?{query}")
    assert (reply.status, reply.code, reply.field) == (400, -32602, field)


@requirement("1.0/http-query", "1.0/http-query-types", "1.0/http-query-encoding")
async def test_parameters_of_the_query_have_the_names_of_the_fields() -> None:
    script = Script([InputRequired("Which?")], ANSWER)
    async with in_process(script, HTTP_1_0, a2a={"resume_by_context": False}) as client:
        context = "a b/c&d=é+%"
        waiting = await client.send_task("hi", contextId=context)
        done = await client.send_task("hi", contextId=context)
        encoded = "a%20b%2Fc%26d%3D%C3%A9%2B%25"
        base = f"/tasks?contextId={encoded}"
        for more, expected in (
            ("", [done["id"], waiting["id"]]),
            ("&status=TASK_STATE_COMPLETED", [done["id"]]),
            ("&status=TASK_STATE_INPUT_REQUIRED&pageSize=1", [waiting["id"]]),
            ("&statusTimestampAfter=2001-01-01T00:00:00Z", [done["id"], waiting["id"]]),
            ("&statusTimestampAfter=2201-01-01T00%3A00%3A00.000Z", []),
            ("&unknown=1", [done["id"], waiting["id"]]),
        ):
            page = (await asked(client, "GET", base + more)).result
            assert [task["id"] for task in page["tasks"]] == expected, more
        for flag, there in (("true", True), ("false", False)):
            page = (await asked(client, "GET", f"{base}&includeArtifacts={flag}")).result
            assert ("artifacts" in page["tasks"][0]) is there
        task = (await asked(client, "GET", f"/tasks/{done['id']}?historyLength=0")).task
        assert "history" not in task


@requirement("1.0/http-tenant", "1.0/tenant", "1.0/not-yours")
async def test_a_tenant_stands_before_the_path() -> None:
    async with in_process(Script(ANSWER), HTTP_1_0, a2a={"tenants": ("red", "blue")}) as client:
        params = client.params("hi")
        task = (await asked(client, "POST", "/red/message:send", params)).sent["task"]
        path = f"/tasks/{task['id']}"
        assert client.script.requests[0].tenant == "red"
        assert (await asked(client, "GET", f"/red{path}")).task == task
        assert (await asked(client, "GET", f"{path}?tenant=red")).task == task
        for url in (path, f"/blue{path}", f"{path}?tenant=blue"):
            assert (await asked(client, "GET", url)).code == -32001
        assert (await asked(client, "GET", "/red/tasks")).result["totalSize"] == 1
        assert (await asked(client, "GET", "/blue/tasks")).result["totalSize"] == 0
        body = params | {"tenant": "red"}
        assert (await asked(client, "POST", "/message:send", body)).sent
        assert client.script.requests[1].tenant == "red"
        contradiction = await asked(client, "POST", "/blue/message:send", body)
        assert contradiction.code == -32602
        unknown = await asked(client, "POST", "/green/message:send", params)
        assert unknown.status in {400, 404}
        assert len(client.script.requests) == 2


@pytest.mark.parametrize(
    ("verb", "path", "status"),
    [
        ("GET", "/tasks/a/b/c", 404),
        ("POST", "/message:shout", 404),
        ("POST", "/tasks/a:explode", 404),
        ("GET", "/message:send", 405),
        ("PUT", "/tasks/a", 405),
        ("PATCH", "/tasks", 405),
        ("DELETE", "/tasks/a/pushNotificationConfigs", 405),
    ],
)
@requirement("1.0/http-unknown", "1.0/http-error")
async def test_what_is_not_there_is_an_error_of_the_same_form(
    client: Client, verb: str, path: str, status: int
) -> None:
    response = await client.http.request(verb, path, headers={"A2A-Version": "1.0"})
    assert response.status_code in {status, 404, 405}
    error = response.json()["error"]
    assert error["code"] == response.status_code
    assert error["message"]
    if response.status_code == 405:
        assert response.headers["allow"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"hi"', b"null", b"\xff", b"NaN"])
@requirement("1.0/http-error", "1.0/validation", "1.0/error-content")
async def test_a_body_that_is_no_message_is_a_bad_request(client: Client, body: bytes) -> None:
    headers = {"Content-Type": A2A_JSON, "A2A-Version": "1.0"}
    response = await client.http.post("/message:send", content=body, headers=headers)
    reply = RestReply(response, client.wire)
    assert reply.status == 400
    assert reply.code in {-32700, -32600, -32602}


@requirement("1.0/http-stream", "1.0/stream-established")
async def test_each_event_is_a_stream_response_by_itself(client: Client) -> None:
    reply = await asked(client, "POST", "/message:stream", client.params("hi"))
    assert reply.headers["content-type"].partition(";")[0] == "text/event-stream"
    bodies = [event.body for event in reply.events()]
    assert list(bodies[0]) == ["task"]
    assert all(body.keys() <= {"statusUpdate", "artifactUpdate"} for body in bodies[1:])
    assert [event.seq for event in reply.events()] == list(range(1, len(bodies) + 1))


@pytest.mark.parametrize("asking", [InputRequired("Which?"), AuthRequired("Log in.")])
@requirement("1.0/http-stream-closes", "1.0/auth-stream")
async def test_a_stream_closes_when_the_task_waits(asking: TurnEvent) -> None:
    async with in_process(Script([TextDelta("Well."), asking]), HTTP_1_0) as client:
        reply = await asked(client, "POST", "/message:stream", client.params("hi"))
        assert "statusUpdate" in reply.events()[-1].result


@requirement("1.0/stream-errors", "1.0/http-error")
async def test_a_stream_that_is_refused_is_an_error_and_no_stream(client: Client) -> None:
    reply = await asked(
        client,
        "POST",
        "/message:stream",
        client.params("hi", taskId="nowhere"),
        Accept="text/event-stream",
    )
    assert (reply.status, reply.code) == (404, -32001)


@requirement("1.0/version-unknown", "1.0/error-version", "1.0/version-query", "1.0/version-patch")
@pytest.mark.parametrize("version", ["0.5", "2.0", "1.1", "latest"])
async def test_an_unknown_version_is_refused(client: Client, version: str) -> None:
    for url, headers in (
        ("/tasks", {"A2A-Version": version}),
        ("/tasks/a", {"a2a-version": version}),
        (f"/tasks?A2A-Version={version}", {}),
        (f"/tasks/a?a2a-version={version}", {}),
    ):
        response = await client.http.get(url, headers=headers)
        assert RestReply(response, client.wire).code == -32009
    for known in ("1.0", "1.0.7", ""):
        response = await client.http.get("/tasks", headers={"A2A-Version": known})
        assert response.status_code == 200


@requirement("1.0/version-semantics", "1.0/version-empty")
async def test_a_strict_server_takes_the_version_at_its_word() -> None:
    async with in_process(Script([DONE]), HTTP_1_0, a2a={"strict_version": True}) as client:
        assert (await asked(client, "GET", "/tasks")).result
        for headers in ({}, {"A2A-Version": "0.3"}):
            response = await client.http.get("/tasks", headers=headers)
            assert RestReply(response, client.wire).code == -32009
