"""The load generator counts right answers and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.load import bare
from tests.load.load import Load

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    type RunServer = Callable[[Any], AbstractAsyncContextManager[str]]

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("version", ["0.3", "1.0"])
@pytest.mark.parametrize(("mode", "events"), [("send", 0), ("get", 0), ("stream", 12)])
async def test_right_answers_are_counted(
    run_server: RunServer, mode: str, version: str, events: int
) -> None:
    async with run_server(bare.app) as url:
        load = Load(int(url.rpartition(":")[2]), version, chunks=10)
        with anyio.fail_after(5):
            measured = await load.measure(mode, seconds=5, connections=1, most=3)
    assert (measured.errors, measured.operations, measured.events) == ([], 3, 3 * events)


@pytest.mark.parametrize(
    ("mode", "right", "wrong"),
    [
        ("send", b"echo: hello", b"echo: hallo"),
        ("send", b"COMPLETED", b"WORKING"),
        ("send", b'"id":', b'"id":1'),
        ("send", b"result", b"error"),
        ("stream", b" 0003", b" 0004"),
        ("stream", b"COMPLETED", b"WORKING"),
        ("stream", b"}\n\n", b"}\n"),
    ],
)
async def test_a_wrong_answer_is_an_error(
    run_server: RunServer, mode: str, right: bytes, wrong: bytes
) -> None:
    async with run_server(_replacing(right, wrong)) as url:
        load = Load(int(url.rpartition(":")[2]), chunks=10)
        with anyio.fail_after(5):
            measured = await load.measure(mode, seconds=5, connections=1)
    assert measured.errors
    assert not measured.operations


def _replacing(right: bytes, wrong: bytes) -> Any:
    """Return the bare application with something else in its answers."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def replace(message: Any) -> None:
            if "body" in message:
                message["body"] = message["body"].replace(right, wrong)
            if "headers" in message:
                kept = [pair for pair in message["headers"] if pair[0] != b"content-length"]
                message["headers"] = kept
            await send(message)

        await bare.app(scope, receive, replace)

    return app
