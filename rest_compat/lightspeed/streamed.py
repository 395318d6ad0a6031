"""A response that is sent piece by piece, as long as somebody reads it."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, override

from starlette.responses import Response

from agent.sse import while_heard

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from starlette.types import Receive, Scope, Send


class Streamed(Response):
    """Sends texts as they come; nothing waits to be sent but the one that is being read."""

    def __init__(
        self,
        texts: AsyncGenerator[str],
        content_type: str,
        close: Callable[[], Awaitable[None]],
    ) -> None:
        """``close`` is called in the end, whatever was sent."""
        super().__init__(media_type=content_type, headers=_HEADERS)
        del self.headers["content-length"]
        self._texts = texts
        self._close = close

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until there is no more, or nobody who reads it."""
        try:
            async with while_heard(receive, send) as write, aclosing(self._texts) as texts:
                await write(
                    {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                )
                async for text in texts:
                    if text:
                        await write(_body(text, more=True))
                await write(_body("", more=False))
        finally:
            await self._close()


_HEADERS = {
    "Cache-Control": "no-cache, no-transform",
    # Proxies such as nginx would otherwise collect the stream before they pass it on.
    "X-Accel-Buffering": "no",
}


def _body(text: str, *, more: bool) -> dict[str, object]:
    return {"type": "http.response.body", "body": text.encode(), "more_body": more}
