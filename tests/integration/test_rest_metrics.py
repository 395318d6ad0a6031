"""``GET /metrics`` of a server that runs turns."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.app import create_app
from agent.errors import StackUnavailable, TurnFailed
from agent.settings import Settings
from agent.stacks import (
    DirectMessage,
    InputRequired,
    Rejected,
    TextDelta,
    TextPart,
    TurnCompleted,
    TurnStarted,
    Usage,
)
from agent.stacks.base import Model
from rest_compat.lightspeed.metrics import PATIENCE_SECONDS
from tests.fakes.catalogue_stack import Kept, having
from tests.fakes.gates import open_gate
from tests.fakes.rest import rest_app
from tests.fakes.scripted_stack import STACK, Script, scripted
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

FOX = {"provider": "openai", "model": "fox"}
LCS_BOUNDS = [
    *("0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75"),
    *("1.0", "2.5", "5.0", "7.5", "10.0", "+Inf"),
]
SAYS = [
    TurnStarted("turn-1", "openai/fox"),
    TextDelta("yes"),
    Usage(7, 2),
    Usage(3, 1),
    TurnCompleted("end_of_turn"),
]


class Server:
    """A server, and what it counts."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def metrics(self) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
        """Return the values by name and labels; all of it must be Prometheus' text format."""
        answer = await self.http.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8"
        values: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                labelled = values.setdefault(sample.name, {})
                labelled[frozenset(sample.labels.items())] = sample.value
        return values

    async def value(self, name: str, **labels: str) -> float | None:
        """Return one of them."""
        return (await self.metrics()).get(name, {}).get(frozenset(labels.items()))

    async def settled(self, number: int) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
        """Return the values when so many tasks have come to rest, and none runs."""
        while True:
            values = await self.metrics()
            running = values["a2a_tasks_running"][frozenset()]
            if sum(values["a2a_tasks_total"].values()) == number and not running:
                return values

    async def say(self, **more: Any) -> Any:
        """Send a message over JSON-RPC; returns what came of it."""
        message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]} | more
        call = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
        headers = {"A2A-Version": "1.0"}
        answer = (await self.http.post("/a2a", json=call, headers=headers)).json()
        return answer["result"]


@asynccontextmanager
async def serving(*turns: Any) -> AsyncIterator[Server]:
    """Serve a stack that does these turns."""
    with anyio.fail_after(30), scripted(Script(*turns)) as name:
        given: dict[str, Any] = {"a2a_state": {"memory": True}, "stack": STACK, "name": name}
        app = create_app(Settings.model_validate(given))
        async with run_server(app) as url, httpx.AsyncClient(base_url=url) as http:
            yield Server(http)


async def test_turns_of_a2a_are_counted_with_what_they_cost() -> None:
    async with serving(SAYS) as server:
        assert await server.value("ls_llm_calls_total", **FOX) is None
        for _ in range(2):
            assert (await server.say())["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
        values = await server.settled(2)
    of_fox = frozenset(FOX.items())
    assert values["ls_llm_calls_total"] == {of_fox: 2}
    assert values["ls_llm_token_sent_total"] == {of_fox: 20}
    assert values["ls_llm_token_received_total"] == {of_fox: 6}
    assert values["a2a_tasks_total"][frozenset({("state", "completed")})] == 2
    assert values["ls_llm_calls_failures_total"] == {frozenset(): 0}


async def test_how_turns_end_is_counted() -> None:
    """A message that becomes no task is none of them."""
    turns = (
        [TurnFailed("No.")],
        [StackUnavailable()],
        [Rejected("Not that.")],
        [InputRequired("Which?")],
        [DirectMessage((TextPart("hi"),))],
    )
    async with serving(*turns) as server:
        for _ in turns:
            await server.say()
        values = await server.settled(4)
    assert values["ls_llm_calls_failures_total"] == {frozenset(): 2}
    assert values["ls_llm_validation_errors_total"] == {frozenset(): 1}
    states = values["a2a_tasks_total"].items()
    numbers = {dict(labels)["state"]: number for labels, number in states if number}
    assert numbers == {"failed": 2, "rejected": 1, "input_required": 1}


async def test_requests_of_a2a_are_counted_by_binding_and_operation() -> None:
    async with serving(SAYS) as server:
        await server.say()
        old = {"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"id": "nope"}}
        await server.http.post("/", json=[old, old, old | {"method": "nope"}])
        await server.http.get("/tasks", headers={"A2A-Version": "1.0"})
        requests = (await server.metrics())["a2a_requests_total"]
    assert requests == {
        frozenset({("binding", "JSONRPC"), ("method", "SendMessage")}): 1,
        frozenset({("binding", "JSONRPC"), ("method", "GetTask")}): 2,
        frozenset({("binding", "HTTP+JSON"), ("method", "ListTasks")}): 1,
    }


async def test_a_single_question_is_a_call_of_a_model_and_no_task() -> None:
    async with serving(SAYS, [StackUnavailable()]) as server:
        for status in (200, 503):
            asked = await server.http.post("/v1/infer", json={"question": "hi"})
            assert asked.status_code == status
        values = await server.metrics()
    of_fox = frozenset(FOX.items())
    assert values["ls_llm_calls_total"] == {of_fox: 1}
    assert values["ls_llm_token_sent_total"] == {of_fox: 10}
    assert values["ls_llm_calls_failures_total"] == {frozenset(): 1}
    assert not sum(values["a2a_tasks_total"].values())


async def test_what_runs_is_told_as_long_as_it_runs() -> None:
    go_on = anyio.Event()
    async with serving([TextDelta("a"), go_on, TurnCompleted("end_of_turn")]) as server:
        message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}
        headers = {"A2A-Version": "1.0"}
        stream = server.http.stream(
            "POST", "/message:stream", json={"message": message}, headers=headers
        )
        async with stream as followed:
            lines = followed.aiter_lines()
            while "artifactUpdate" not in await anext(lines):
                pass
            assert await server.value("a2a_tasks_running") == 1
            assert await server.value("a2a_streams_open") == 1
            assert await server.value("a2a_tasks_total", state="completed") == 0
            go_on.set()
            async for _ in lines:
                pass
        values = await server.settled(1)
        while values["a2a_streams_open"][frozenset()]:
            values = await server.metrics()
        assert values["a2a_tasks_total"][frozenset({("state", "completed")})] == 1


async def test_calls_of_rest_are_counted_by_route_however_many_paths_there_are() -> None:
    async with serving(SAYS) as server:
        for n in range(30):
            await server.http.get(f"/v1/rags/{n}")
            await server.http.get(f"/nowhere/{n}")
        await server.http.post("/liveness")
        await server.http.get("/liveness?user_id=")
        await server.http.get("/")
        values = await server.metrics()
    calls = {
        (dict(labels)["path"], dict(labels)["status_code"]): number
        for labels, number in values["ls_rest_api_calls_total"].items()
    }
    assert calls == {
        ("/v1/rags/{rag_id}", "404"): 30,
        ("other", "404"): 30,
        ("/liveness", "405"): 1,
        ("/liveness", "422"): 1,
        ("/", "200"): 1,
    }
    count = values["ls_response_duration_seconds_count"]
    assert count[frozenset({("path", "/liveness")})] == 2
    bounds = [
        dict(labels)["le"]
        for labels in values["ls_response_duration_seconds_bucket"]
        if ("path", "other") in labels
    ]
    assert bounds == LCS_BOUNDS


async def test_a_fault_is_counted_as_one() -> None:
    with having(Kept(models=ValueError("oops"))) as settings:
        async with asking(settings) as server:
            assert (await server.http.get("/v1/models")).status_code == 500
            assert (
                await server.value("ls_rest_api_calls_total", path="/v1/models", status_code="500")
                == 1
            )


# The models that there are.


@asynccontextmanager
async def asking(settings: dict[str, Any]) -> AsyncIterator[Server]:
    """Speak to the REST layer alone."""
    given = Settings.model_validate({"a2a_state": {"memory": True}} | settings)
    transport = httpx.ASGITransport(rest_app(open_gate(), given))
    with anyio.fail_after(PATIENCE_SECONDS + 20):
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as http:
            yield Server(http)


async def test_the_models_are_told_and_asked_for_once_a_minute() -> None:
    kept = Kept()
    with having(kept) as settings:
        chosen = {"default_model": "small", "default_provider": "vllm"}
        async with asking(settings | {"inference": chosen}) as server:
            for _ in range(3):
                offered = (await server.metrics())["ls_provider_model_configuration"]
    assert offered == {
        frozenset({("provider", "vllm"), ("model", "vllm/small")}): 1,
        frozenset({("provider", "second"), ("model", "other")}): 0,
    }
    assert kept.asked == ["models"]


@pytest.mark.parametrize(
    "models",
    [StackUnavailable(), ValueError("canary"), [Model("a/b", "a"), "canary"]],
    ids=["away", "raises", "says nonsense"],
)
async def test_a_stack_that_cannot_tell_its_models_takes_the_rest_from_nobody(
    models: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with having(Kept(models=models)) as settings:
        async with asking(settings) as server:
            values = await server.metrics()
    assert "ls_provider_model_configuration" not in values
    assert values["a2a_tasks_running"] == {frozenset(): 0}
    assert "canary" not in caplog.text


async def test_without_permission_nothing_is_told() -> None:
    rules = {"authorization": {"access_rules": [{"role": "*", "actions": ["info"]}]}}
    given = {"a2a_state": {"memory": True}} | rules
    with anyio.fail_after(20):
        async with (
            run_server(create_app(Settings.model_validate(given))) as url,
            httpx.AsyncClient(base_url=url) as http,
        ):
            refused = await http.get("/metrics")
    assert refused.status_code == 403
    assert refused.headers["content-type"] == "application/json"
    assert "ls_" not in refused.text
