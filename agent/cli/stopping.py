"""What is told to stop stops in order: tasks first, then the connections of those who follow them."""

from __future__ import annotations

import asyncio
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from agent.app import DRAIN, STOP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from starlette.types import ASGIApp, Receive, Scope, Send


class Stopping:
    """An application whose tasks end while their followers can still hear of it.

    The server alone would wait for the connections, and the connections for the tasks.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        """Wrap ``app``; tasks may go on for ``seconds``."""
        self.app = app
        self.seconds = seconds
        self._stopping: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; listen to SIGTERM and SIGINT as long as the application lives."""
        if scope["type"] == "lifespan" and threading.current_thread() is threading.main_thread():
            with self._listening(scope["state"]):
                return await self.app(scope, receive, send)
        return await self.app(scope, receive, send)

    @contextmanager
    def _listening(self, state: dict[str, Any]) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def hear(number: int, frame: FrameType | None) -> None:
            then = before[signal.Signals(number)]

            def proceed() -> None:
                if callable(then):
                    then(number, frame)

            loop.call_soon_threadsafe(self._begin, state, proceed)

        for number in before:
            signal.signal(number, hear)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _begin(self, state: dict[str, Any], proceed: Callable[[], None]) -> None:
        if self._stopping is None and STOP in state:
            self._stopping = asyncio.create_task(self._stop(state, proceed))
        else:
            # Not up yet, or told twice: there is nothing to wait for.
            proceed()

    async def _stop(self, state: dict[str, Any], proceed: Callable[[], None]) -> None:
        """End tasks before the server ends connections: it would refuse new ones without a word."""
        try:
            await state[DRAIN](self.seconds)
            await state[STOP]()
        finally:
            proceed()
