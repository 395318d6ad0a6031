"""Work that is done for somebody who waits for it, and for as long as they do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.rpc_body import Disconnected

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from starlette.types import Receive


async def while_awaited[Result](receive: Receive, work: Coroutine[Any, Any, Result]) -> Result:
    """Return what comes of the work; raises ``Disconnected`` when the client goes away before that."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_left(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Disconnected
        return await working
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
