"""The commands against servers that want a token: what they show to whom, and say when refused."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from starlette.responses import JSONResponse, Response

from agent.app import create_app
from agent.cli import exits, main
from agent.cli.credentials import TOKEN
from agent.settings import Settings
from tests.fakes.api_key import KEY, KEYED
from tests.fakes.identities import TOLD
from tests.fakes.scripted_stack import ANSWER, STACK, Script, scripted
from tests.fakes.server import listen, run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from starlette.types import ASGIApp, Receive, Scope, Send

    type Run = Callable[..., Awaitable[int]]

pytestmark = pytest.mark.anyio


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return what runs a command, with a token in the environment or none, and returns its exit code."""
    monkeypatch.setattr(sys, "path", sys.path[:])  # main adds the working directory

    def command(*arguments: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert isinstance(ended.value.code, int)
        return ended.value.code

    async def in_thread(*arguments: str, token: str | None = None) -> int:
        if token is None:
            monkeypatch.delenv(TOKEN, raising=False)
        else:
            monkeypatch.setenv(TOKEN, token)
        with anyio.fail_after(20):
            return await anyio.to_thread.run_sync(
                partial(command, *arguments), abandon_on_cancel=True
            )

    return in_thread


@asynccontextmanager
async def serving(card_url: str | None = None, **settings: Any) -> AsyncIterator[str]:
    """Serve an agent that wants the key; yields its URL."""
    listening = listen()
    with scripted(Script(ANSWER)) as name:
        usual = {
            "name": name,
            "stack": STACK,
            "a2a_state": {"memory": True},
            "service": {"base_url": card_url or listening[1]},
            "authentication": KEYED,
        }
        app = create_app(Settings.model_validate(usual | settings))
        async with run_server(app, listening) as url:
            yield url


@asynccontextmanager
async def answering(response: Response) -> AsyncIterator[tuple[str, list[dict[str, str]]]]:
    """Answer everything alike; yields the URL, and the headers of what was asked."""
    heard: list[dict[str, str]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        heard.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await response(scope, receive, send)

    served: ASGIApp = app
    async with run_server(served) as url:
        yield url, heard


@pytest.mark.parametrize("source", ["environment", "file"])
async def test_a_token_opens_the_agent(
    run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path, source: str
) -> None:
    """Whether it is in the environment or in a file, where a line feed at the end is usual."""
    file = tmp_path / "token"
    file.write_text(f"{KEY}\n")
    token = KEY if source == "environment" else None
    named = ("--token-file", str(file)) if source == "file" else ()
    async with serving() as url:
        assert await run("send", url, "hi", *named, token=token) == 0
        assert await run("tasks", "list", url, *named, token=token) == 0
        assert await run("card", url, *named, token=token) == 0
        task_id = capsys.readouterr().out.splitlines()[1].split()[0]
        for command in ("get", "watch"):
            assert await run("tasks", command, url, task_id, *named, token=token) == 0
        assert await run("tasks", "cancel", url, task_id, *named, token=token) == exits.FAILED
    printed = capsys.readouterr()
    assert KEY not in printed.out + printed.err


@pytest.mark.parametrize("command", ["send", "list", "watch"])
async def test_without_a_token_the_agent_refuses_and_the_command_says_what_to_do(
    run: Run, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """In one line; the card is for everybody."""
    async with serving() as url:
        arguments = {
            "send": ("send", url, "hi"),
            "list": ("tasks", "list", url),
            "watch": ("tasks", "watch", url, "task"),
        }[command]
        assert await run(*arguments) == exits.FAILED
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err == (
            "The agent does not know you: Missing or invalid credentials provided by client: "
            "No Authorization header found "
            "(show a token with LLAMASTACK_A2A_TOKEN or --token-file)\n"
        )
        assert await run("card", url) == 0


async def test_a_wrong_token_is_told_and_not_shown(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither is what the agent wants."""
    async with serving() as url:
        assert await run("send", url, "hi", token="not-the-key") == exits.FAILED
    said = capsys.readouterr().err
    assert said.startswith("The agent does not know you: ")
    assert "Invalid API Key" in said
    assert "not-the-key" not in said
    assert KEY not in said


async def test_what_is_not_allowed_is_told(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """By the access rules."""
    rules = {"access_rules": [{"role": "*", "actions": ["info"]}]}
    async with serving(authorization=rules) as url:
        assert await run("tasks", "list", url, token=KEY) == exits.FAILED
    assert capsys.readouterr().err.startswith("The agent does not allow this: ")


async def test_when_to_try_again_is_told(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing of what the server says can play with the terminal."""
    error = {"error": {"message": "Slow \x1b[31mdown\n"}}
    response = JSONResponse(error, 429, {"retry-after": "7"})
    async with answering(response) as (url, _):
        assert await run("card", url) == exits.FAILED
    said = capsys.readouterr().err
    assert said == "The agent wants you to wait: Slow  [31mdown (try again in 7 seconds)\n"


async def test_when_to_try_again_is_told_once(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    error = {"error": {"message": "Too many: Try again in 60 seconds."}}
    async with answering(JSONResponse(error, 429, {"retry-after": "60"})) as (url, _):
        assert await run("card", url) == exits.FAILED
    said = capsys.readouterr().err
    assert said == "The agent wants you to wait: Too many: Try again in 60 seconds.\n"


async def test_a_token_goes_to_the_server_it_is_for_and_to_no_other(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the card says: whoever writes it could collect tokens."""
    async with (
        answering(JSONResponse({"error": {"message": "No."}}, 401)) as (other, heard),
        serving(other) as url,
    ):
        assert await run("send", url, "hi", token=KEY) == exits.FAILED
    assert heard
    assert not [headers for headers in heard if KEY in str(headers)]
    assert f"The token is not shown to another server: {other}" in capsys.readouterr().err


async def test_this_machine_is_one_server_whatever_it_is_called(run: Run) -> None:
    """The card names ``localhost`` unless a base URL is set, and users like addresses."""
    listening = listen()
    port = listening[1].rpartition(":")[2]
    with scripted(Script(ANSWER)) as name:
        settings = {
            "name": name,
            "stack": STACK,
            "a2a_state": {"memory": True},
            "service": {"port": int(port)},
            "authentication": KEYED,
        }
        app = create_app(Settings.model_validate(settings))
        async with run_server(app, listening) as url:
            assert "127.0.0.1" in url
            assert await run("send", url, "hi", token=KEY) == 0


async def test_a_file_without_a_token_is_wrong_usage(
    run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Nothing is asked with a token that cannot be one."""
    empty, spaced = tmp_path / "empty", tmp_path / "spaced"
    empty.write_text("\n")
    spaced.write_text("two words")
    for file in (empty, spaced, tmp_path / "missing"):
        named = ("--token-file", str(file))
        assert await run("send", "http://127.0.0.1:1", "hi", *named) == exits.USAGE
    assert await run("send", "http://127.0.0.1:1", "hi", token="a b") == exits.USAGE
    assert "two words" not in capsys.readouterr().err


async def test_other_schemes_than_bearer_are_told_too(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """The agent wants a header that a gateway sets: a token does not help."""
    async with serving(authentication=TOLD) as url:
        assert await run("tasks", "list", url, token=KEY) == exits.FAILED
    assert "Missing x-rh-identity header" in capsys.readouterr().err
