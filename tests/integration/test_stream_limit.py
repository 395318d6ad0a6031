"""An owner has so many streams open at once, on whatever binding; the others have theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from agent.app import create_app
from agent.settings import Settings
from agent.stacks import TextDelta
from tests.fakes.scripted_stack import ANSWER, DONE, STACK, Script, scripted
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

MESSAGE = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}
CALL = {"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": {"message": MESSAGE}}


@pytest.fixture
async def released() -> anyio.Event:
    """What the first turn waits for."""
    return anyio.Event()


@pytest.fixture
async def http(released: anyio.Event) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of a server with one stream for each owner."""
    script = Script([TextDelta("a"), released, DONE], ANSWER)
    with scripted(script) as name, anyio.fail_after(30):
        settings = Settings.model_validate(
            {
                "name": name,
                "stack": STACK,
                "a2a_state": {"memory": True},
                "limits": {"streams_per_owner": 1},
            }
        )
        async with (
            run_server(create_app(settings)) as url,
            httpx.AsyncClient(base_url=url, timeout=20) as client,
        ):
            yield client


def stream(http: httpx.AsyncClient, user: str) -> Any:
    """Open a stream over JSON-RPC."""
    return http.stream("POST", "/a2a", params={"user_id": user}, json=CALL)


async def test_one_stream_too_many_is_refused_on_every_binding_of_http(
    http: httpx.AsyncClient, released: anyio.Event
) -> None:
    async with stream(http, "ann") as first:
        lines = first.aiter_lines()
        await anext(lines)

        over_rpc = await http.post("/a2a", params={"user_id": "ann"}, json=CALL)
        over_http = await http.post("/message:stream?user_id=ann", json={"message": MESSAGE})
        theirs = await http.post("/a2a", params={"user_id": "bob"}, json=CALL)

        assert (over_rpc.status_code, over_rpc.json()["error"]["code"]) == (429, -32059)
        assert over_rpc.headers["retry-after"] == "5"
        assert over_http.status_code == 429
        assert over_http.json()["error"]["details"][0]["reason"] == "TOO_MANY_STREAMS"
        assert theirs.status_code == 200
        assert "TASK_STATE_COMPLETED" in theirs.text
        released.set()
        async for _line in lines:
            pass
    again = await http.post("/a2a", params={"user_id": "ann"}, json=CALL)
    assert again.status_code == 200


async def test_who_waits_for_a_task_of_theirs_again_has_a_place_too(
    http: httpx.AsyncClient, released: anyio.Event
) -> None:
    """The same message comes again, and its task is one; its connection is another."""
    message = MESSAGE | {"messageId": "6f1e2f0a-6f0e-4a53-9a0e-0d5d2f3e1c11"}
    call = CALL | {"params": {"message": message}}
    again = call | {"method": "SendMessage"}
    async with http.stream("POST", "/a2a", params={"user_id": "ann"}, json=call) as first:
        lines = first.aiter_lines()
        await anext(lines)

        refused = await http.post("/a2a", params={"user_id": "ann"}, json=again)

        assert (refused.status_code, refused.json()["error"]["code"]) == (429, -32059)
        released.set()
        async for _line in lines:
            pass
    answered = await http.post("/a2a", params={"user_id": "ann"}, json=again)
    assert answered.json()["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_who_goes_away_leaves_their_place(http: httpx.AsyncClient) -> None:
    async with stream(http, "ann") as first:
        await anext(first.aiter_lines())

    while (await http.post("/a2a", params={"user_id": "ann"}, json=CALL)).status_code == 429:
        await anyio.lowlevel.checkpoint()


async def test_a_stream_that_is_not_answered_leaves_its_place(http: httpx.AsyncClient) -> None:
    """A notification runs the message, and nobody follows it; bad parameters run nothing."""
    notified = {name: value for name, value in CALL.items() if name != "id"}
    for body in (notified, CALL | {"params": {}}, notified):
        await http.post("/a2a", params={"user_id": "eve"}, json=body)

    answered = await http.post("/a2a", params={"user_id": "eve"}, json=CALL)

    assert answered.status_code == 200
