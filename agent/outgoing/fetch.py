"""GET of a URL that somebody else chose."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import httpcore
import httpx
import msgspec

from agent.errors import InvalidParams, PayloadTooLarge
from agent.outgoing.addresses import Allowed
from agent.outgoing.calls import Calls
from agent.outgoing.guard import NOT_PUBLIC, Guard, Refused
from agent.outgoing.network import AddressRefused
from agent.outgoing.resolver import Resolver

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable

    from agent.outgoing.guard import Resolve
    from agent.settings import Settings

REDIRECTS = 3
CONNECTIONS = 16
SECONDS = 30.0
"""The longest that one document takes."""
SILENT_SECONDS = 20.0

_OK = 200
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = (
    ("Accept", "*/*"),
    # What is packed would have to be unpacked, and may be a bomb.
    ("Accept-Encoding", "identity"),
    ("User-Agent", "llamastack-a2a"),
)
# One text for all: what answers how inside this network is nobody's business.
UNREADABLE = "cannot be fetched"
LEADS_AWAY = "leads to a URL that is not called"


class FetchRefused(InvalidParams):
    """The URL, or one that it leads to, is not called."""


class FetchFailed(InvalidParams):
    """Nothing that can be used came back, or not in time."""


class Fetched(msgspec.Struct, frozen=True):
    """A document; ``media_type`` is in lower case and without parameters, empty when nothing was said."""

    data: bytes
    media_type: str


class Download(msgspec.Struct, frozen=True):
    """A document that is still coming: ``chunks`` are read once, within the context it came from."""

    chunks: AsyncIterator[bytes]
    media_type: str


class Fetching:
    """Calls checked addresses, uses no proxy, sends no credentials, and takes bounded time and bytes.

    It follows up to three redirects, each checked anew, and none from https to http. An answer with any
    other status than 200 is a failure.
    """

    def __init__(
        self,
        guard: Guard,
        seconds: float = SECONDS,
        tls: ssl.SSLContext | None = None,
        *,
        resolver: Resolver | None = None,
    ) -> None:
        """``seconds`` is the longest that one GET takes as a whole; ``resolver`` is closed with this."""
        self._guard = guard
        self._seconds = seconds
        self._calls = Calls(guard, CONNECTIONS, tls)
        self._resolver = resolver

    async def open(self) -> None:
        """Nothing to open: most servers never call anybody."""

    async def close(self) -> None:
        """Close every connection."""
        await self._calls.close()
        if self._resolver is not None:
            self._resolver.close()

    async def get(
        self,
        url: str,
        max_bytes: int,
        *,
        field: str = "url",
        count: Callable[[int], None] | None = None,
    ) -> Fetched:
        """Return what ``url`` stands for; errors name ``field``.

        ``count`` is told how many bytes come before they are kept, and may raise. Raises ``FetchRefused``,
        ``FetchFailed``, and ``PayloadTooLarge`` for more than ``max_bytes``.
        """
        chunks: list[bytes] = []
        async with self.stream(url, max_bytes, field=field) as download:
            async for chunk in download.chunks:
                if count is not None:
                    count(len(chunk))
                chunks.append(chunk)
        return Fetched(b"".join(chunks), download.media_type)

    @asynccontextmanager
    async def stream(
        self, url: str, max_bytes: int, *, field: str = "url", seconds: float | None = None
    ) -> AsyncIterator[Download]:
        """Give what ``url`` stands for in chunks; raises, also while they are read, what ``get`` does.

        ``seconds`` is how long all may take, with what is done with the chunks.
        """
        try:
            async with asyncio.timeout(seconds or self._seconds), AsyncExitStack() as opened:
                response = await self._follow(url, opened)
                yield Download(_bounded(response, max_bytes), _media_type(response))
        except Refused as exc:
            raise FetchRefused(field, exc.problem) from exc
        except AddressRefused as exc:
            raise FetchRefused(field, NOT_PUBLIC) from exc
        except (
            _Unusable,
            TimeoutError,
            httpcore.TimeoutException,
            httpcore.NetworkError,
            httpcore.ProtocolError,
        ) as exc:
            raise FetchFailed(field, UNREADABLE) from exc

    async def _follow(self, text: str, opened: AsyncExitStack) -> httpcore.Response:
        """Return the answer of where ``text`` leads to, which ``opened`` closes."""
        url = self._guard.parse(text)
        for _ in range(REDIRECTS + 1):
            call = await self._calls.call("GET", url, _HEADERS, read_seconds=SILENT_SECONDS)
            async with AsyncExitStack() as entered:
                response = await entered.enter_async_context(call)
                if response.status == _OK:
                    opened.push_async_exit(entered.pop_all())
                    return response
                if response.status not in _REDIRECTS:
                    raise _Unusable
                url = self._next(url, _header(response, b"location"))
        raise _Unusable

    def _next(self, url: httpx.URL, location: str) -> httpx.URL:
        if not location:
            raise _Unusable
        try:
            target = url.join(location)
        except (httpx.InvalidURL, ValueError) as exc:
            raise _Unusable from exc
        try:
            found = self._guard.parse(str(target))
        except Refused as exc:
            raise Refused(LEADS_AWAY) from exc
        if url.scheme == "https" and found.scheme != "https":
            raise _Unusable
        return found


def make_fetching(settings: Settings, *, resolve: Resolve | None = None) -> Fetching:
    """Return what fetches what callers name: public addresses, and those that the settings allow."""
    resolver = Resolver()
    allowed = Allowed(settings.experimental.datasets.allow)
    return Fetching(Guard(resolve or resolver, allowed), resolver=resolver)


class _Unusable(Exception):
    """What came back is not what was asked for."""


async def _bounded(response: httpcore.Response, most: int) -> AsyncIterator[bytes]:
    too_large = f"The document that the URL names is larger than {most} bytes"
    announced = _header(response, b"content-length")
    if announced.isdecimal() and int(announced[:20]) > most:
        raise PayloadTooLarge(too_large)
    if _header(response, b"content-encoding").lower() not in {"", "identity"}:
        raise _Unusable
    size = 0
    async for chunk in response.aiter_stream():
        size += len(chunk)
        if size > most:
            raise PayloadTooLarge(too_large)
        yield chunk


def _media_type(response: httpcore.Response) -> str:
    return _header(response, b"content-type").partition(";")[0].strip().lower()


def _header(response: httpcore.Response, wanted: bytes) -> str:
    for name, value in response.headers:
        if name.lower() == wanted:
            return value.decode("latin-1").strip()
    return ""
