"""Tasks that wait, from the wire to a tool server and back, with a restart in between."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from agent.app import create_app
from agent.settings import Settings
from tests.fakes.mcp_server import McpServer
from tests.fakes.openai_server import OpenAIServer, calls, says
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

SUM = calls(("1", "add", '{"a": 2, "b": 40}'))
SCHEMA = {"type": "object", "properties": {"sum": {"type": "integer"}}}
FORM = {"type": "json_schema", "json_schema": {"name": "sum", "schema": SCHEMA}}


@asynccontextmanager
async def serving(folder: Path, model: str, **mcp: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Run the whole server on a database in ``folder``; again for a restart."""
    settings = Settings.model_validate(
        {
            "openai": {"base_url": f"{model}/v1", "api_key": "k", "model": "tiny"},
            "mcp_servers": [{"name": "tools", **mcp}],
            "a2a_state": {"sqlite": {"db_path": str(folder / "state.db")}},
        }
    )
    with anyio.fail_after(30):
        async with (
            run_server(create_app(settings)) as url,
            httpx.AsyncClient(base_url=url, timeout=20) as client,
        ):
            yield client


async def send(client: httpx.AsyncClient, *parts: Any, **fields: Any) -> dict[str, Any]:
    """Send a message and return the task."""
    said = [{"text": part} if isinstance(part, str) else {"data": part} for part in parts]
    message = {"messageId": "m", "role": "ROLE_USER", "parts": said, **fields}
    asked = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    answer = (await client.post("/a2a", json=asked)).json()
    task: dict[str, Any] = answer["result"]["task"]
    return task


def state(task: dict[str, Any]) -> str:
    told: str = task["status"]["state"]
    return told.removeprefix("TASK_STATE_")


def data(task: dict[str, Any]) -> dict[str, Any]:
    """Return the data of what the agent asks."""
    (found,) = [part["data"] for part in task["status"]["message"]["parts"] if "data" in part]
    asked: dict[str, Any] = found
    return asked


def answer_of(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of the answer."""
    return [
        part
        for artifact in task["artifacts"]
        if artifact["artifactId"].startswith("answer")
        for part in artifact["parts"]
    ]


@pytest.mark.parametrize(
    ("reply", "approved"),
    [("yes", True), ({"call_id": "1", "approve": True}, True), ("rather not", False)],
)
async def test_a_tool_call_is_approved_after_a_restart(
    tmp_path: Path, reply: Any, *, approved: bool
) -> None:
    """By a word or by data; anything else is a no."""
    tools, model = McpServer(), OpenAIServer(SUM, says("Well."))
    async with run_server(tools) as tools_url, run_server(model.app) as model_url:
        mcp = {"url": f"{tools_url}/mcp", "require_approval": "always"}
        async with serving(tmp_path, model_url, **mcp) as client:
            task = await send(client, "2 + 40?")
            assert state(task) == "INPUT_REQUIRED"
            assert tools.calls == []
        async with serving(tmp_path, model_url, **mcp) as client:
            done = await send(client, reply, taskId=task["id"])
    assert data(task) == {
        "type": "approvals",
        "approvals": [
            {
                "call_id": "1",
                "tool_name": "add",
                "arguments": {"a": 2, "b": 40},
                "server_label": "tools",
            }
        ],
    }
    assert state(done) == "COMPLETED"
    assert tools.calls == [{"a": 2, "b": 40}] * approved
    assert "".join(part["text"] for part in answer_of(done)) == "Well."


async def test_a_tool_without_credentials_is_tried_again_after_a_restart(tmp_path: Path) -> None:
    """The task names who wants them, and never what was shown; then its very call is made."""
    secret = tmp_path / "secret"
    secret.write_text("Bearer stale")
    tools, model = McpServer("Bearer good", only_calls=True), OpenAIServer(SUM, says("42."))
    async with run_server(tools) as tools_url, run_server(model.app) as model_url:
        headers = {"Authorization": str(secret)}
        mcp = {"url": f"{tools_url}/mcp", "authorization_headers": headers}
        async with serving(tmp_path, model_url, **mcp) as client:
            task = await send(client, "2 + 40?")
            still = await send(client, "now?", taskId=task["id"])
        secret.write_text("Bearer good")
        async with serving(tmp_path, model_url, **mcp) as client:
            done = await send(client, "now!", taskId=task["id"])
    assert [state(each) for each in (task, still, done)] == [
        "AUTH_REQUIRED",
        "AUTH_REQUIRED",
        "COMPLETED",
    ]
    assert data(task) == {"type": "auth", "server": "tools", "url": tools_url}
    assert "stale" not in str(task)
    assert tools.calls == [{"a": 2, "b": 40}]
    assert len(model.requests) == 2


async def test_the_form_of_an_answer_outlives_a_question(tmp_path: Path) -> None:
    """It was asked for with the first message."""
    tools, model = McpServer(), OpenAIServer(SUM, says('{"sum": ', "42}"))
    async with run_server(tools) as tools_url, run_server(model.app) as model_url:
        mcp = {"url": f"{tools_url}/mcp", "require_approval": ["add"]}
        async with serving(tmp_path, model_url, **mcp) as client:
            task = await send(client, "2 + 40?", metadata={"response_format": FORM})
            done = await send(client, "yes", taskId=task["id"])
    assert answer_of(done) == [{"data": {"sum": 42}, "mediaType": "application/json"}]
    assert [asked["response_format"] for asked in model.requests] == [FORM, FORM]
