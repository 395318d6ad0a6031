"""Clients that do not read their stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.sse import Impatient

if TYPE_CHECKING:
    from starlette.types import Message

pytestmark = pytest.mark.anyio

BODY: Message = {"type": "http.response.body", "body": b"x", "more_body": True}


async def never(_message: Any) -> None:
    """Write to a client that reads nothing."""
    await anyio.sleep_forever()


async def test_a_client_that_reads_nothing_is_given_up() -> None:
    """What it does not read would be kept for ever."""
    seen: list[Impatient] = []

    async def stream() -> None:
        seen.append(Impatient(never, 0.01))
        await seen[0](BODY)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(stream)
    assert seen[0].stalled


async def test_a_client_that_reads_is_never_given_up() -> None:
    """Silence between two writes is not its fault."""
    said: list[Message] = []

    async def send(message: Message) -> None:
        said.append(message)

    patience = Impatient(send, 0.01)
    with anyio.fail_after(5):
        while len(said) < 5:
            await patience(BODY)
            with anyio.move_on_after(0.02):
                await anyio.sleep_forever()
    patience.stop()
    assert not patience.stalled
