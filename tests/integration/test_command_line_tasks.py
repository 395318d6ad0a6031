"""``tasks`` against a server on a socket: what it prints where, and its exit codes."""

from __future__ import annotations

import json
import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import anyio.to_thread
import httpx
import pytest

from agent.app import create_app
from agent.cli import exits, main
from agent.settings import Settings
from agent.stacks import Failed, InputRequired, TextDelta
from tests.fakes.proxy import proxying
from tests.fakes.scripted_stack import ANSWER, DONE, STACK, Script, scripted
from tests.fakes.server import listen, run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    type Run = Callable[..., Awaitable[int]]

pytestmark = pytest.mark.anyio

VERSIONS = pytest.mark.parametrize("version", ["hybrid", "0.3"])


def call(*, wait: bool = True, **message: str) -> dict[str, Any]:
    """Return a call that sends a message."""
    params = {
        "message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hello"}]} | message,
        "configuration": {"returnImmediately": not wait},
    }
    return {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params}


class Agent(NamedTuple):
    """A server at ``url`` whose card is of one version, and a client of it."""

    url: str
    http: httpx.AsyncClient

    async def send(self, *, wait: bool = True, **message: str) -> Any:
        """Send a message, and return its task, which has ended when ``wait`` is true."""
        answer = await self.http.post("/a2a", json=call(wait=wait, **message))
        return answer.json()["result"]["task"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return what runs ``tasks`` with arguments and returns its exit code."""
    monkeypatch.setattr(sys, "path", sys.path[:])  # main adds the working directory

    def command(*arguments: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(["tasks", *arguments])
        assert isinstance(ended.value.code, int)
        return ended.value.code

    async def in_thread(*arguments: str) -> int:
        with anyio.fail_after(20):
            return await anyio.to_thread.run_sync(
                partial(command, *arguments), abandon_on_cancel=True
            )

    return in_thread


@asynccontextmanager
async def serving(
    script: Script, version: str = "hybrid", card_url: str | None = None
) -> AsyncIterator[Agent]:
    """Serve ``script``; the card says that the server is at ``card_url``."""
    listening = listen()
    with scripted(script) as name:
        settings = Settings.model_validate(
            {
                "name": name,
                "stack": STACK,
                "a2a_state": {"memory": True},
                "a2a": {"card_version": version},
                "service": {"base_url": card_url or listening[1]},
            }
        )
        async with (
            run_server(create_app(settings), listening) as url,
            httpx.AsyncClient(base_url=url) as http,
        ):
            yield Agent(url, http)


async def test_tasks_are_listed_latest_first(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each, with id, state, time and context."""
    async with serving(Script(ANSWER, [InputRequired("Which?")])) as agent:
        tasks = [await agent.send(contextId=context) for context in ("a", "b")]
        assert await run("list", agent.url) == 0

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        [tasks[1]["id"], "input-required", tasks[1]["status"]["timestamp"], "b"],
        [tasks[0]["id"], "completed", tasks[0]["status"]["timestamp"], "a"],
    ]


@pytest.mark.parametrize(
    ("options", "contexts"),
    [
        (["--context", "a"], ["a", "a"]),
        (["--state", "input-required"], ["b"]),
        (["--context", "b", "--state", "completed"], []),
        (["--limit", "2"], ["b", "a"]),
    ],
)
async def test_the_list_is_filtered(
    run: Run, capsys: pytest.CaptureFixture[str], options: list[str], contexts: list[str]
) -> None:
    """By context and state, up to a limit; as JSON it is a task on every line."""
    async with serving(Script(ANSWER, ANSWER, [InputRequired("Which?")])) as agent:
        for context in ("a", "a", "b"):
            await agent.send(contextId=context)
        assert await run("list", agent.url, "--json", *options) == 0

    listed = [json.loads(line)["contextId"] for line in capsys.readouterr().out.splitlines()]
    assert listed == contexts


async def test_a_long_list_is_read_page_by_page(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """An agent gives 100 tasks at once at most."""
    async with serving(Script(ANSWER)) as agent:
        for _ in range(3):
            batch = [call() | {"id": number} for number in range(35)]
            assert len((await agent.http.post("/a2a", json=batch)).json()) == 35
        assert await run("list", agent.url, "--limit", "102") == 0
        some = capsys.readouterr().out.splitlines()
        assert await run("list", agent.url, "--limit", "500") == 0
        every = capsys.readouterr().out.splitlines()

    assert len({line.split()[0] for line in every}) == 105
    assert some == every[:102]


async def test_an_agent_of_0_3_cannot_list(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Its protocol has no such method."""
    async with serving(Script(ANSWER), "0.3") as agent:
        assert await run("list", agent.url) == exits.FAILED

    assert "cannot list tasks" in capsys.readouterr().err


@VERSIONS
async def test_a_task_is_shown_with_its_answer(
    run: Run, capsys: pytest.CaptureFixture[str], version: str
) -> None:
    """The answer alone is on standard output."""
    async with serving(Script(ANSWER), version) as agent:
        task = await agent.send()
        assert await run("get", agent.url, task["id"]) == 0
        printed = capsys.readouterr()
        assert await run("get", agent.url, task["id"], "--json") == 0

    assert printed.out == "yes\n"
    assert printed.err == f"[completed] task {task['id']}  context {task['contextId']}\n"
    assert json.loads(capsys.readouterr().out)["task"]["id"] == task["id"]


@VERSIONS
@pytest.mark.parametrize("command", ["get", "cancel", "watch"])
async def test_a_task_that_is_not_there_is_an_error(
    run: Run, capsys: pytest.CaptureFixture[str], version: str, command: str
) -> None:
    """One line, in the agent's words."""
    async with serving(Script(ANSWER), version) as agent:
        assert await run(command, agent.url, "nothing") == exits.FAILED

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("The agent refused: ")
    assert printed.err.count("\n") == 1


@VERSIONS
async def test_a_task_that_runs_is_canceled(
    run: Run, capsys: pytest.CaptureFixture[str], version: str
) -> None:
    """Once: after that there is nothing to cancel."""
    async with serving(Script([anyio.Event(), DONE]), version) as agent:
        task = await agent.send(wait=False)
        assert await run("cancel", agent.url, task["id"]) == 0
        printed = capsys.readouterr().out.split()
        assert await run("cancel", agent.url, task["id"]) == exits.FAILED

    assert printed[:2] == [task["id"], "canceled"]


@VERSIONS
@pytest.mark.parametrize(
    ("turn", "code", "out", "state"),
    [
        (ANSWER, 0, "yes\n", "completed"),
        ([InputRequired("Which?")], 0, "Which?\n", "input-required"),
        ([Failed("It broke.")], exits.NOT_COMPLETED, "It broke.\n", "failed"),
    ],
)
async def test_what_is_over_is_shown_at_once(
    run: Run,
    capsys: pytest.CaptureFixture[str],
    version: str,
    turn: Any,
    code: int,
    out: str,
    state: str,
) -> None:
    """A task that has ended has no stream, and its answer all the same."""
    async with serving(Script(turn), version) as agent:
        task = await agent.send()
        assert await run("watch", agent.url, task["id"]) == code

    printed = capsys.readouterr()
    assert printed.out == out
    assert printed.err.startswith(f"[{state}] task {task['id']}")


@VERSIONS
async def test_a_task_is_watched_until_it_ends(
    run: Run, capsys: pytest.CaptureFixture[str], version: str
) -> None:
    """A connection that breaks is taken up again, and nothing is printed twice."""
    go_on = anyio.Event()
    script = Script([TextDelta("one "), go_on, TextDelta("two"), DONE])
    front = listen()
    async with (
        serving(script, version, card_url=front[1]) as agent,
        proxying(front, agent.url, cut_after=b"one ") as proxy,
        anyio.create_task_group() as group,
    ):
        task = await agent.send(wait=False)

        async def go_on_once_taken_up() -> None:
            await proxy.taken_up.wait()
            go_on.set()

        group.start_soon(go_on_once_taken_up)
        assert await run("watch", front[1], task["id"]) == 0

    printed = capsys.readouterr()
    assert proxy.cut.is_set()
    assert printed.out.replace("\n", "") == "one two"
    assert "taking it up again" in printed.err


async def test_an_agent_that_stays_away_cannot_be_reached(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is tried again when the agent was never there."""
    listener, url = listen()
    listener.close()

    assert await run("watch", url, "task") == exits.UNREACHABLE

    assert capsys.readouterr().err.startswith(f"Cannot talk to {url}")
