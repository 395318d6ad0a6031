"""What keeps the server from starting: one line in the log instead of tracebacks, and an exit code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from agent.cli import exits
from agent.errors import AgentError, SettingsError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Starting:
    """An application that says in one line why it cannot start; ``exit_code`` is for that case."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap ``app``."""
        self.app = app
        self.exit_code = exits.FAILED

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on, but the text of a failed start."""
        if scope["type"] != "lifespan":
            return await self.app(scope, receive, send)

        async def tell(message: Message) -> None:
            error = sys.exception()
            if message["type"] == "lifespan.startup.failed" and isinstance(error, AgentError):
                self.exit_code = exits.USAGE if isinstance(error, SettingsError) else exits.FAILED
                message["message"] = _line(error)
            await send(message)

        return await self.app(scope, receive, tell)


def _line(error: AgentError) -> str:
    """Name the cause too: this is the log of whoever runs the server."""
    cause = str(error.__cause__ or "").partition("\n")[0]
    return f"{error.message} ({cause})" if cause else error.message
