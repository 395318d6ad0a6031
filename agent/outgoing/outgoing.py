"""POST to a URL that somebody else chose."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import httpcore
import msgspec

from agent.outgoing.calls import Calls
from agent.outgoing.guard import Refused
from agent.outgoing.network import AddressRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from agent.outgoing.guard import Guard

DRAIN_BYTES = 4096
DRAIN_SECONDS = 1.0


class Outcome(msgspec.Struct, frozen=True):
    """``status`` is the HTTP status that came back; else ``problem`` names why there is none."""

    status: int | None = None
    problem: str = ""
    retry_after: str | None = None


class Outgoing:
    """Calls checked addresses, follows no redirects, uses no proxy, and takes bounded time."""

    def __init__(
        self, guard: Guard, seconds: float, connections: int, tls: ssl.SSLContext | None = None
    ) -> None:
        """Nothing is opened; ``seconds`` is the longest that one call takes, from name to answer."""
        self._guard = guard
        self._seconds = seconds
        self._calls = Calls(guard, connections, tls)

    async def close(self) -> None:
        """Close every connection."""
        await self._calls.close()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Send ``body``; header values are ASCII."""
        try:
            return await self._post(self._guard.parse(url), headers, body)
        except (Refused, AddressRefused):
            return Outcome(problem="address refused")
        except (TimeoutError, httpcore.TimeoutException):
            return Outcome(problem="timeout")
        except (httpcore.NetworkError, httpcore.ProtocolError) as exc:
            return Outcome(problem="tls" if _is_tls(exc) else "connection")

    async def _post(self, url: httpx.URL, headers: Mapping[str, str], body: bytes) -> Outcome:
        call = await self._calls.call("POST", url, [*headers.items()], body)
        async with AsyncExitStack() as opened:
            async with asyncio.timeout(self._seconds):
                response = await opened.enter_async_context(call)
            await _drain(response)
            return Outcome(response.status, retry_after=_retry_after(response))


async def _drain(response: httpcore.Response) -> None:
    """Read a little of the body, for who sends it: the status has said everything."""
    read = 0
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            async for chunk in response.aiter_stream():
                read += len(chunk)
                if read > DRAIN_BYTES:
                    return
    except (TimeoutError, httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        return


def _retry_after(response: httpcore.Response) -> str | None:
    for name, value in response.headers:
        if name.lower() == b"retry-after":
            return value.decode("latin-1")
    return None


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False
