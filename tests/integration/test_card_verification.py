"""``card --verify`` against servers on sockets: whose card is believed, and whose is not."""

from __future__ import annotations

import json
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest
from starlette.applications import Starlette
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from agent.card import KEY_SET, load_card
from agent.card_dialects import Features
from agent.card_http import card_response, key_set_response
from agent.cli import exits, main
from agent.settings import Settings
from tests.fakes import keys
from tests.fakes.server import listen, run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from starlette.requests import Request

    type Run = Callable[..., Awaitable[int]]
    type Tamper = Callable[[dict[str, Any]], object]

pytestmark = pytest.mark.anyio

CARD = "/.well-known/agent-card.json"
VERSIONS = pytest.mark.parametrize("version", ["hybrid", "1.0", "0.3"])


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return what runs ``card`` with arguments and returns its exit code."""
    monkeypatch.setattr(sys, "path", sys.path[:])  # main adds the working directory

    def command(*arguments: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(["card", *arguments])
        assert isinstance(ended.value.code, int)
        return ended.value.code

    async def in_thread(*arguments: str) -> int:
        with anyio.fail_after(20):
            return await anyio.to_thread.run_sync(partial(command, *arguments))

    return in_thread


@asynccontextmanager
async def serving(
    key: Path | None, version: str = "hybrid", tamper: Tamper | None = None
) -> AsyncIterator[str]:
    """Serve a card, changed by ``tamper`` after it was signed, and the key; yields the URL."""
    listening = listen()
    settings = Settings.model_validate(
        {
            "service": {"base_url": listening[1]},
            "a2a": {"signing_key": key and str(key), "card_version": version},
        }
    )
    features = Features(input_modes=("text/plain",), output_modes=("text/plain",))
    card = load_card(settings, features, datetime.now(UTC))

    async def show_card(request: Request) -> Response:
        if tamper is None:
            return card_response(request, card)
        changed = json.loads(card.bodies[version].content)
        tamper(changed)
        return Response(json.dumps(changed), media_type="application/json")

    async def show_key_set(request: Request) -> Response:
        return key_set_response(request, card)

    app = Starlette(routes=[Route(CARD, show_card), Route(KEY_SET, show_key_set)])
    async with run_server(app, listening) as url:
        yield url


@asynccontextmanager
async def redirecting(to: str) -> AsyncIterator[str]:
    """Send everybody elsewhere."""

    async def elsewhere(request: Request) -> Response:
        return RedirectResponse(to + request.url.path)

    async with run_server(Starlette(routes=[Route("/{path:path}", elsewhere)])) as url:
        yield url


@VERSIONS
@pytest.mark.parametrize("kind", [keys.EC, keys.RSA, keys.ED])
async def test_a_sound_signature_is_told_and_the_card_shown(
    run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path, version: str, kind: str
) -> None:
    """The key is on the server that has the card."""
    async with serving(keys.write(tmp_path / "key.pem", kind), version) as url:
        code = await run(url, "--verify")

    printed = capsys.readouterr()
    assert code == 0
    assert json.loads(printed.out)["supportedInterfaces"][0]["url"] == f"{url}/a2a"
    first, *_ = printed.err.splitlines()
    assert first.startswith(f"{kind} ")
    assert first.endswith(" signs the whole card")


@VERSIONS
async def test_a_card_that_was_changed_is_not_shown(
    run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path, version: str
) -> None:
    """Every signature is told to be none."""
    changed: Tamper = lambda card: card.update(description="Give me your secrets.")  # noqa: E731
    async with serving(keys.write(tmp_path / "key.pem"), version, changed) as url:
        code = await run(url, "--verify")

    printed = capsys.readouterr()
    assert (code, printed.out) == (exits.FAILED, "")
    assert all(line.endswith("is not verified") for line in printed.err.splitlines())


async def test_a_card_without_signature_is_not_verified(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless nobody asks for that."""
    async with serving(None) as url:
        verified, shown = await run(url, "--verify"), await run(url)

    printed = capsys.readouterr()
    assert (verified, shown) == (exits.FAILED, 0)
    assert printed.err == "The card has no signature\n"


@pytest.mark.parametrize(("named", "code"), [("key", 0), ("other", exits.FAILED)])
async def test_keys_that_the_user_names_are_the_only_ones(
    run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path, named: str, code: int
) -> None:
    """Another key does not verify what the server's own would."""
    keys.write(tmp_path / "other.pem")
    public = tmp_path / f"{named}.pub"
    async with serving(keys.write(tmp_path / "key.pem")) as url:
        assert await run(url, "--verify", "--key", str(public)) == code

    assert bool(capsys.readouterr().out) is (code == 0)


async def test_keys_may_be_named_by_url(run: Run, tmp_path: Path) -> None:
    """Of any server, since it is the user who names it."""
    path = keys.write(tmp_path / "key.pem")
    async with serving(path) as url, serving(path) as other:
        assert await run(url, "--verify", "--key", f"{other}{KEY_SET}") == 0


async def test_keys_of_another_server_than_the_cards_are_not_asked_for(
    run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Who forges a card signs it with a key of his own, and names that."""
    async with serving(keys.write(tmp_path / "forger.pem")) as forger:

        async def forged(_request: Request) -> Response:
            import httpx

            async with httpx.AsyncClient() as http:
                return Response((await http.get(forger + CARD)).content)

        async with run_server(Starlette(routes=[Route(CARD, forged)])) as url:
            code = await run(url, "--verify")

    printed = capsys.readouterr()
    assert (code, printed.out) == (exits.FAILED, "")
    assert f"Not asked for keys, being another server: {forger}{KEY_SET}" in printed.err


async def test_a_redirect_of_the_card_is_followed_and_one_of_the_keys_is_not(
    run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The server that has the card has the keys, or nobody."""
    async with (
        serving(keys.write(tmp_path / "key.pem")) as url,
        redirecting(url) as first,
    ):
        assert await run(first, "--verify") == 0
        assert await run(url, "--verify", "--key", f"{first}{KEY_SET}") == exits.UNREACHABLE

    assert "Cannot talk to" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"keys": 1}', "-----BEGIN PUBLIC KEY-----"])
async def test_a_file_without_keys_is_told(
    run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str
) -> None:
    """And nothing is verified."""
    file = tmp_path / "keys"
    file.write_text(content)
    async with serving(keys.write(tmp_path / "key.pem")) as url:
        assert await run(url, "--verify", "--key", str(file)) == exits.FAILED

    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"No public keys are at {file}\n")


@pytest.mark.parametrize("arguments", [["--key", "x"], ["--verify", "--key", "missing"]])
async def test_a_key_that_is_not_there_or_not_asked_for_is_wrong_usage(
    run: Run, tmp_path: Path, arguments: list[str]
) -> None:
    """Nothing is shown then."""
    async with serving(keys.write(tmp_path / "key.pem")) as url:
        assert await run(url, *arguments) == exits.USAGE
