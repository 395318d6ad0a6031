"""An application that is made when it is first asked for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import anyio
import pytest

from agent.transport.deferred import Deferred

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

pytestmark = pytest.mark.anyio


class Making:
    """Counts what it makes, and in which thread."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.asked: list[str] = []
        self.fails = False

    def make(self) -> ASGIApp:
        """Return the application."""
        self.threads.append(threading.current_thread())
        if self.fails:
            raise RuntimeError("It cannot be made.")
        return self._app

    async def _app(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        self.asked.append(scope["path"])


async def ask(deferred: Deferred, path: str) -> None:
    """Ask for a path."""

    async def nothing(*_: object) -> None:
        return

    await deferred({"type": "http", "path": path}, nothing, nothing)  # type: ignore[arg-type]


async def test_nothing_is_made_before_somebody_asks_and_then_once_beside_the_loop() -> None:
    making = Making()
    deferred = Deferred(making.make)
    assert making.threads == []

    async with anyio.create_task_group() as asking:
        for number in range(5):
            asking.start_soon(ask, deferred, f"/{number}")
    await ask(deferred, "/later")

    assert sorted(making.asked) == ["/0", "/1", "/2", "/3", "/4", "/later"]
    assert len(making.threads) == 1
    assert making.threads[0] is not threading.current_thread()


async def test_what_cannot_be_made_is_tried_again() -> None:
    making = Making()
    deferred = Deferred(making.make)
    making.fails = True
    with pytest.raises(RuntimeError):
        await ask(deferred, "/first")

    making.fails = False
    await ask(deferred, "/second")

    assert making.asked == ["/second"]
