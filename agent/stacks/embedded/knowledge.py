"""A folder of documents, indexed in the database and searched there."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from a2a_state import passages
from a2a_state.passage_search import Word, search
from agent.clock import now
from agent.errors import SettingsError
from agent.stacks.embedded import documents

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from a2a_state.database import Database
    from a2a_state.passage_search import Found
    from agent.stacks.embedded.terms import Term
    from agent.stacks.turn import Json

_log = logging.getLogger(__name__)

FILE_BYTES = 4 * 1024 * 1024
"""Larger files are left out."""
FILES = 10_000
"""How many files of a folder are read."""

_BATCH = 50  # documents written in one transaction
_TITLES = 8
_BEGINNING = 4  # letters of a word from which on others may begin with it


class Knowledge:
    """The documents of one folder. Processes that share a database share its index."""

    def __init__(self, database: Database, folder: Path) -> None:
        """Read nothing yet."""
        self._database = database
        self._folder = folder
        self._source = f"vs_{hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:32]}"
        self._indexing: asyncio.Task[None] | None = None

    @property
    def store_id(self) -> str:
        """The id of the folder as a vector store."""
        return self._source

    async def open(self) -> None:
        """Begin to index; raises ``SettingsError`` when there is no such folder."""
        if not await asyncio.to_thread(self._folder.is_dir):
            raise SettingsError("knowledge", f"{self._folder} is not a folder")
        self._indexing = asyncio.create_task(self._index())

    async def close(self) -> None:
        """Give up indexing; it goes on from there the next time."""
        if self._indexing is not None:
            self._indexing.cancel()
            await asyncio.gather(self._indexing, return_exceptions=True)

    async def search(self, terms: Sequence[Term], limit: int) -> Found:
        """Find passages, once everything is indexed."""
        await self._indexed()
        words = [Word(term.stem, _prefix(term)) for term in terms]
        return await self._database.read(lambda c: search(c, self._source, words, limit))

    async def titles(self) -> list[str]:
        """Return the titles of the first documents."""
        await self._indexed()
        return await self._database.read(lambda c: passages.titles(c, self._source, _TITLES))

    async def vector_store(self) -> Json:
        """Describe the index as Llama Stack describes a vector store."""
        await self._indexed()
        size = await self._database.read(lambda c: passages.size(c, self._source))
        return {
            "id": self._source,
            "object": "vector_store",
            "name": self._folder.name,
            "created_at": size.indexed_at // 1000,
            "last_active_at": size.indexed_at // 1000,
            "expires_at": None,
            "status": "completed",
            "usage_bytes": size.bytes,
            "file_counts": {
                "completed": size.documents,
                "failed": 0,
                "in_progress": 0,
                "cancelled": 0,
                "total": size.documents,
            },
        }

    async def _indexed(self) -> None:
        """Wait for the index; begin again when it failed, for the database may be back."""
        task = self._indexing
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = self._indexing = asyncio.create_task(self._index())
        if not task.done():
            # whoever waits may give up without stopping it for the others
            await asyncio.shield(task)

    async def _index(self) -> None:
        """Bring the index up to date: new and changed files go in, those that are gone go out."""
        source = self._source
        known = await self._database.read(lambda c: passages.digests(c, source))
        seen: set[str] = set()
        changes = _changes(self._folder, known, seen)
        while batch := await asyncio.to_thread(_take, changes):
            replace = partial(passages.replace, source=source, batch=batch, now=now())
            await self._database.write(replace)
        gone = sorted(known.keys() - seen)
        if gone:
            await self._database.write(lambda c: passages.remove(c, source, gone))


def _prefix(term: Term) -> str:
    return term.word if len(term.word) >= _BEGINNING else ""


def _take(changes: Iterator[passages.Document]) -> list[passages.Document]:
    batch = []
    for document in changes:
        batch.append(document)
        if len(batch) == _BATCH:
            break
    return batch


def _changes(folder: Path, known: dict[str, str], seen: set[str]) -> Iterator[passages.Document]:
    """Yield the documents that are new or changed; put the path of every document in ``seen``."""
    for file in _files(folder):
        path = file.relative_to(folder).as_posix()
        try:
            if file.stat().st_size > FILE_BYTES:
                _log.warning("%s is left out: larger than %d bytes", file, FILE_BYTES)
                continue
            content = file.read_bytes()
        except OSError as exc:
            _log.warning("%s cannot be read: %s", file, exc.strerror)
            continue
        if known.get(path) == documents.digest_of(content):
            seen.add(path)
        elif document := documents.read(path, content):
            seen.add(path)
            yield document
        else:
            _log.warning("%s is left out: it is not text", file)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files to read, in order; hidden files and folders are left out."""
    count = 0
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith(".") or Path(name).suffix.lower() not in documents.SUFFIXES:
                continue
            file = Path(root, name)
            if not file.is_file():
                # Reading a pipe would not end.
                _log.warning("%s is left out: it is no file", file)
                continue
            count += 1
            if count > FILES:
                _log.warning("Only the first %d files of %s are read", FILES, folder)
                return
            yield file
