"""What turns name by URL is fetched here: a few at once, and of a turn no more than a request may have."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from agent.errors import InvalidParams, PayloadTooLarge
from agent.outgoing.data_url import is_data, read_data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from agent.agents.base import Json
    from agent.agents.fetch import Fetch
    from agent.settings.own import Limits

    type Contents = dict[str, bytes]
    """What URIs stand for, by the paths where they are named."""

AT_ONCE = 4
"""Most that are fetched at once for one owner."""
SECONDS = 30.0
"""The longest that all URLs of a turn take together."""


class Urls:
    """Reads what turns name. Waiting for others of the same owner is part of a turn's time."""

    def __init__(self, fetch: Fetch, limits: Limits, seconds: float = SECONDS) -> None:
        """``limits`` bound how many there are in a turn, each of them, and all of them together."""
        self._fetch = fetch
        self._limits = limits
        self._seconds = seconds
        self._places: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def read(
        self, owner: str, named: Mapping[str, str], grow: Callable[[int], None]
    ) -> Contents:
        """Return what URIs stand for, which are ``named`` by their paths.

        ``grow`` is told how many bytes come before they are kept, and may raise. Raises
        ``InvalidParams`` with the path of what cannot be read, and ``PayloadTooLarge``.
        """
        if len(named) > self._limits.parts:
            raise InvalidParams(next(iter(named)), "there are too many URLs in one turn")
        contents = {
            path: read_data(uri, path).content for path, uri in named.items() if is_data(uri)
        }
        away = {path: uri for path, uri in named.items() if path not in contents}
        if away:
            contents |= await self._fetched(owner, away, self._counting(grow))
        return contents

    async def _fetched(
        self, owner: str, away: Mapping[str, str], count: Callable[[int], None]
    ) -> Contents:
        places = self._places.setdefault(owner, asyncio.Semaphore(AT_ONCE))

        async def get(path: str, uri: str) -> bytes:
            async with places:
                most = self._limits.file_bytes
                return (await self._fetch.get(uri, most, field=path, count=count)).data

        fetching = [asyncio.create_task(get(path, uri)) for path, uri in away.items()]
        try:
            async with asyncio.timeout(self._seconds):
                return dict(zip(away, await asyncio.gather(*fetching), strict=True))
        except TimeoutError as exc:
            raise InvalidParams(next(iter(away)), "takes too long, with the other URLs") from exc
        finally:
            for each in fetching:
                each.cancel()
            await asyncio.gather(*fetching, return_exceptions=True)

    def _counting(self, grow: Callable[[int], None]) -> Callable[[int], None]:
        most = left = self._limits.body_bytes

        def count(size: int) -> None:
            nonlocal left
            left -= size
            if left < 0:
                raise PayloadTooLarge(f"What the turn names by URL is larger than {most} bytes")
            grow(size)

        return count


def named_in(value: Json, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield where images and documents are named by their URIs in messages or documents, and the URIs."""
    match value:
        case {"type": "image", "image": {"url": {"uri": str(uri)}}}:
            yield path, uri
        case {"content": {"uri": str(uri)}}:
            yield f"{path}.content", uri
        case list() | tuple():
            for number, each in enumerate(value):
                yield from named_in(each, f"{path}.{number}")
        case dict():
            for name, each in value.items():
                yield from named_in(each, f"{path}.{name}" if path else name)
