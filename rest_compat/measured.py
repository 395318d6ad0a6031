"""What counts and measures the calls of REST."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from agent.metrics import OTHER

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from agent.metrics import Metrics

METRICS = "/metrics"


class Measured:
    """Counts the calls of an application and measures them, up to the last byte of what it answers."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Wrap ``app``, a FastAPI application."""
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and measure."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        status, began, ended = 0, time.perf_counter(), 0.0

        async def sending(message: Message) -> None:
            nonlocal status, ended
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                ended = time.perf_counter()

        try:
            await self._app(scope, receive, sending)
        finally:
            # Who has gone away is not answered.
            if status:
                path = getattr(scope.get("route"), "path", OTHER)
                self._metrics.took(path, (ended or time.perf_counter()) - began)
                # As with LCS: who reads them would count for most of them.
                if path != METRICS:
                    self._metrics.answered(path, status)
