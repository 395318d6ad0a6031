"""The documents that ``source.uri`` names: ``data:``, ``http(s)://``, and files of one folder."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import tempfile
from contextlib import asynccontextmanager
from typing import IO, TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from agent.datasets.formats import declared
from agent.errors import InvalidParams, PayloadTooLarge
from agent.outgoing.data_url import is_data, read_data

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.datasets.formats import Format
    from agent.outgoing.fetch import Fetching

FIELD = "source.uri"
SUPPORTED = "must begin with data:, http://, https:// or file://; other sources are not supported"
NO_FILE = "must name a file below the folder that the settings give to datasets"
NO_FOLDER = "must not name a file: the settings give no folder to datasets"


class Document(NamedTuple):
    """A file that can be read anew from its beginning, and its format where that was told."""

    file: IO[bytes]
    told: Format | None


class Documents:
    """Opens what callers name."""

    def __init__(self, fetching: Fetching, folder: Path | None, most: int, seconds: float) -> None:
        """``most`` is how many bytes a document may have; ``seconds`` how long one may come."""
        self._fetching = fetching
        self._folder = folder
        self._most = most
        self._seconds = seconds

    @asynccontextmanager
    async def open(self, uri: str) -> AsyncIterator[Document]:
        """Give the document; raises ``InvalidParams`` and ``PayloadTooLarge``."""
        scheme = uri.partition(":")[0].lower()
        if scheme in {"http", "https"}:
            # On disk, and not in memory: CSV is read twice.
            with await asyncio.to_thread(tempfile.TemporaryFile) as file:
                yield await self._download(uri, file)
        elif is_data(uri):
            held = read_data(uri, FIELD)
            yield Document(io.BytesIO(held.content), declared(held.media_type, ""))
        elif scheme == "file":
            with await asyncio.to_thread(self._open, uri) as file:
                yield Document(file, declared("", urlsplit(uri).path))
        else:
            raise InvalidParams(FIELD, SUPPORTED)

    async def _download(self, uri: str, file: IO[bytes]) -> Document:
        async with self._fetching.stream(
            uri, self._most, field=FIELD, seconds=self._seconds
        ) as download:
            async for chunk in download.chunks:
                await asyncio.to_thread(file.write, chunk)
            return Document(file, declared(download.media_type, urlsplit(uri).path))

    def _open(self, uri: str) -> IO[bytes]:
        if self._folder is None:
            raise InvalidParams(FIELD, NO_FOLDER)
        try:
            path = _path(uri, self._folder)
            # A pipe is not waited for, and a link that has come since is not followed.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (OSError, ValueError, RuntimeError) as exc:
            raise InvalidParams(FIELD, NO_FILE) from exc
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_size <= self._most:
            return os.fdopen(descriptor, "rb")
        os.close(descriptor)
        if stat.S_ISREG(found.st_mode):
            raise PayloadTooLarge(f"The file has more than {self._most} bytes")
        raise InvalidParams(FIELD, NO_FILE)


def _path(uri: str, folder: Path) -> Path:
    """Return the file that a URI names; raises ``ValueError`` for one that is outside of the folder."""
    parts = urlsplit(uri)
    if parts.netloc not in {"", "localhost"}:
        raise ValueError
    inside = folder.resolve(strict=True)
    path = inside.joinpath(unquote(parts.path, errors="strict")).resolve(strict=True)
    if not path.is_relative_to(inside):
        raise ValueError
    return path
