"""Who may work on what belongs to others, and who may not: LCS's ``*_other_conversations``."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from agent.app import create_app
from agent.settings import Settings
from agent.stacks import InputRequired, TextDelta
from tests.fakes.scripted_stack import ANSWER, STACK, Script, scripted
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fakes.scripted_stack import Turn

pytestmark = pytest.mark.anyio

OWN = ["a2a_jsonrpc"]
NOT_FOUND = -32001


class Server:
    """A server to which callers say their names in the query."""

    def __init__(self, http: httpx.AsyncClient, script: Script) -> None:
        self.http = http
        self.script = script

    async def ask(self, user: str, method: str, **params: Any) -> Any:
        """Call a method; returns the result, or the code of the error."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = (await self.http.post("/a2a", params={"user_id": user}, json=body)).json()
        return answer["result"] if "result" in answer else answer["error"]["code"]

    async def send(self, user: str, text: str = "hi", **message: str) -> Any:
        """Send a message; returns the task, or the code of the error."""
        said = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": text}], **message}
        sent = await self.ask(user, "SendMessage", message=said)
        return sent if isinstance(sent, int) else sent["task"]


@asynccontextmanager
async def served(*turns: Turn, actions: list[str]) -> AsyncIterator[Server]:
    """Serve with one rule, for everybody."""
    script = Script(*(turns or (ANSWER,)))
    with scripted(script) as name, anyio.fail_after(30):
        settings = Settings.model_validate(
            {
                "name": name,
                "stack": STACK,
                "a2a_state": {"memory": True},
                "authorization": {"access_rules": [{"role": "*", "actions": actions}]},
            }
        )
        async with (
            run_server(create_app(settings)) as url,
            httpx.AsyncClient(base_url=url, timeout=20) as http,
        ):
            yield Server(http, script)


async def test_without_the_actions_the_tasks_of_others_are_not_there() -> None:
    async with served([InputRequired("Which?")], ANSWER, actions=OWN) as server:
        task = await server.send("ann")
        named = {"id": task["id"]}

        assert await server.ask("bob", "GetTask", **named) == NOT_FOUND
        assert await server.ask("bob", "CancelTask", **named) == NOT_FOUND
        assert await server.send("bob", taskId=task["id"]) == NOT_FOUND
        assert (await server.ask("bob", "ListTasks"))["tasks"] == []
        assert (await server.http.delete(f"/tasks/{task['id']}?user_id=bob")).status_code == 404
        assert await server.ask("ann", "GetTask", **named) == task


async def test_who_may_read_the_tasks_of_others_reads_and_follows_them() -> None:
    actions = [*OWN, "read_other_conversations"]
    async with served([InputRequired("Which?")], actions=actions) as server:
        task = await server.send("ann")

        assert await server.ask("bob", "GetTask", id=task["id"]) == task
        assert await server.ask("bob", "CancelTask", id=task["id"]) == NOT_FOUND
        assert await server.send("bob", taskId=task["id"]) == NOT_FOUND
        assert (await server.ask("bob", "ListTasks"))["tasks"] == []
        async with server.http.stream(
            "GET", f"/tasks/{task['id']}:subscribe?user_id=bob"
        ) as stream:
            assert stream.status_code == 200
            lines = stream.aiter_lines()
            heard = [await anext(lines), await anext(lines)]
            assert any(task["id"] in line for line in heard)


async def test_who_may_list_the_tasks_of_others_lists_those_of_everybody() -> None:
    actions = [*OWN, "list_other_conversations", "read_other_conversations"]
    async with served(actions=actions) as server:
        ids = [(await server.send(user))["id"] for user in ("ann", "bob")]

        first = await server.ask("eve", "ListTasks", pageSize=1)
        token = first["nextPageToken"]
        second = await server.ask("eve", "ListTasks", pageSize=1, pageToken=token)

        assert [task["id"] for task in first["tasks"] + second["tasks"]] == ids[::-1]
        assert first["totalSize"] == 2


async def test_who_may_not_read_the_tasks_of_others_does_not_list_them_either() -> None:
    """A list holds what was said in them."""
    async with served(actions=[*OWN, "list_other_conversations"]) as server:
        await server.send("ann")

        assert (await server.ask("eve", "ListTasks"))["tasks"] == []


async def test_who_may_query_in_others_conversations_goes_on_with_their_tasks() -> None:
    """The task stays whose it was; what is said in it is for its conversation."""
    actions = [*OWN, "query_other_conversations"]
    async with served([InputRequired("Which?")], ANSWER, actions=actions) as server:
        task = await server.send("ann")

        answered = await server.send("bob", "this", taskId=task["id"])

        assert answered["status"]["state"] == "TASK_STATE_COMPLETED"
        assert (await server.ask("ann", "GetTask", id=task["id"]))["status"] == answered["status"]
        first, second = server.script.requests
        assert (second.owner, second.conversation_id) == ("ann", first.conversation_id)


async def test_who_may_query_in_others_conversations_cancels_their_tasks() -> None:
    actions = [*OWN, "query_other_conversations"]
    async with served([TextDelta("a"), InputRequired("Which?")], actions=actions) as server:
        task = await server.send("ann")

        canceled = await server.ask("bob", "CancelTask", id=task["id"])

        assert canceled["status"]["state"] == "TASK_STATE_CANCELED"


async def test_who_may_delete_others_conversations_deletes_their_tasks() -> None:
    async with served(actions=[*OWN, "delete_other_conversations"]) as server:
        task = await server.send("ann")

        deleted = await server.http.delete(f"/tasks/{task['id']}?user_id=bob")

        assert deleted.status_code == 204
        assert await server.ask("ann", "GetTask", id=task["id"]) == NOT_FOUND


async def test_a_tenant_is_a_wall_for_admins_too() -> None:
    async with served(actions=["admin"]) as server:
        task = await server.send("ann")

        assert await server.ask("bob", "GetTask", id=task["id"]) == task
        assert await server.ask("bob", "GetTask", id=task["id"], tenant="red") == -32602


async def test_who_acts_for_another_leaves_their_credentials_behind() -> None:
    """The owner has said what is done in the task, and reads what comes of it."""
    shown = {"MCP-HEADERS": '{"tools": {"Authorization": "Bearer bobs"}}'}
    async with served([InputRequired("Which?")], ANSWER, actions=["admin"]) as server:
        task = await server.send("ann")
        server.http.headers.update(shown)

        await server.send("bob", taskId=task["id"])
        await server.send("bob")

        acting, own = server.script.requests[1:]
        assert acting.credentials.mcp_headers == {}
        assert own.credentials.mcp_headers == {"tools": {"Authorization": "Bearer bobs"}}


@pytest.mark.parametrize("method", ["SendMessage", "SendStreamingMessage", "message/send"])
async def test_who_acts_for_another_brings_no_webhook_along(method: str) -> None:
    """Under 0.3 it would take the place of the owner's."""
    async with served([InputRequired("Which?")], ANSWER, actions=["admin"]) as server:
        task = await server.send("ann")
        hook = {"url": "https://hooks.example.org/", "token": "bobs"}
        said: dict[str, Any] = {"messageId": "m", "taskId": task["id"]}
        if "/" in method:
            said |= {"kind": "message", "role": "user", "parts": [{"kind": "text", "text": "x"}]}
            configuration = {"pushNotificationConfig": hook}
        else:
            said |= {"role": "ROLE_USER", "parts": [{"text": "x"}]}
            configuration = {"taskPushNotificationConfig": hook}

        answer = await server.ask("bob", method, message=said, configuration=configuration)

        assert answer == -32602
        assert len(server.script.requests) == 1
        listed = await server.ask("ann", "ListTaskPushNotificationConfigs", taskId=task["id"])
        assert listed.get("configs", []) == []


async def test_who_acts_for_another_does_not_have_other_tasks_read() -> None:
    async with served([InputRequired("Which?")], ANSWER, actions=["admin"]) as server:
        task, other = await server.send("ann"), await server.send("ann")
        said = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x"}]}
        said |= {"taskId": task["id"], "referenceTaskIds": [other["id"]]}

        assert await server.ask("bob", "SendMessage", message=said) == -32602


@pytest.mark.parametrize("task_id", ["\0", "x" * 300], ids=["nul", "long"])
async def test_an_id_that_can_be_none_is_not_looked_for(task_id: str) -> None:
    async with served(actions=["admin"]) as server:
        for method in ("GetTask", "CancelTask"):
            assert await server.ask("bob", method, id=task_id) == -32602
        assert await server.send("bob", taskId=task_id) == -32602


async def test_no_action_opens_anothers_webhooks() -> None:
    """Their credentials are for the owner alone."""
    async with served(actions=["admin"]) as server:
        task = await server.send("ann")

        listed = await server.ask("bob", "ListTaskPushNotificationConfigs", taskId=task["id"])

        assert listed == NOT_FOUND


@pytest.mark.parametrize(
    ("actions", "allowed"),
    [
        (["a2a_message"], {"SendMessage"}),
        (["a2a_task_execution"], {"GetTask", "ListTasks", "CancelTask"}),
        (["query", "info"], set()),
    ],
    ids=["message", "task-execution", "none"],
)
async def test_each_method_asks_for_its_action(actions: list[str], allowed: set[str]) -> None:
    asked: dict[str, dict[str, Any]] = {
        "SendMessage": {
            "message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x"}]}
        },
        "GetTask": {"id": "nowhere"},
        "ListTasks": {},
        "CancelTask": {"id": "nowhere"},
    }
    async with served(actions=actions) as server:
        answers = {name: await server.ask("ann", name, **params) for name, params in asked.items()}
        body = {"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": "nowhere"}}
        refused = await server.http.post("/a2a", json=body)

        assert {name for name, answer in answers.items() if answer != -32056} == allowed
        assert (refused.status_code == 403) is ("GetTask" not in allowed)
        assert len(server.script.requests) == len(allowed & {"SendMessage"})


async def test_a_batch_is_refused_call_by_call() -> None:
    async with served(actions=["a2a_task_execution"]) as server:
        said = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x"}]}
        calls = [("SendMessage", {"message": said}), ("ListTasks", {})]
        batch = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            for number, (method, params) in enumerate(calls)
        ]

        answered = (await server.http.post("/a2a", json=batch)).json()

        codes = {answer["id"]: answer.get("error", {}).get("code") for answer in answered}
        assert codes == {0: -32056, 1: None}
