"""How datasets come to be: with all their rows, or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from a2a_state.dataset_chunks import Bounds, pack
from a2a_state.datasets import BUILDING, Dataset
from agent.datasets.bounded import BoundedFile
from agent.datasets.documents import FIELD
from agent.datasets.formats import read_rows
from agent.datasets.reading import KIND
from agent.datasets.rows import Encoder
from agent.datasets.wrong import Unreadable
from agent.errors import InvalidParams, PayloadTooLarge, QuotaExceeded, ResourceNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from a2a_state.datasets import DatasetStore
    from agent.caller import Caller
    from agent.datasets.documents import Document, Documents
    from agent.settings.experimental import Datasets as DatasetSettings

type Json = Any

URI_CHARS = 1024 * 1024
METADATA_BYTES = 64 * 1024
BATCH_BYTES = 512 * 1024
DOCUMENTS = 16
"""How many are read at once: each may take its bytes on disk."""
DOCUMENTS_PER_OWNER = 4


class Asked(msgspec.Struct, frozen=True):
    """What is to be registered, in Llama Stack's words."""

    purpose: str
    source: Json
    metadata: Json

    @property
    def digest(self) -> bytes:
        """The same for what is asked for again, in whatever order names of members come."""
        values = msgspec.structs.astuple(self)
        return hashlib.sha256(msgspec.json.encode(values, order="sorted")).digest()


class Registering:
    """Stores new datasets; rows of a URI a batch at a time, which nobody sees until all are there."""

    def __init__(
        self,
        store: DatasetStore,
        documents: Documents,
        settings: DatasetSettings,
        clock: Callable[[], int],
        seconds: float,
    ) -> None:
        """``seconds`` is how long the rows of one URI may take; ``clock`` tells milliseconds."""
        self._store = store
        self._documents = documents
        self._settings = settings
        self._clock = clock
        self._seconds = seconds
        self._bounds = Bounds(settings.rows, settings.bytes)
        self._turns = asyncio.Semaphore(DOCUMENTS)
        self._read_for: Counter[str] = Counter()

    async def register(self, caller: Caller, dataset_id: str, asked: Asked) -> Dataset:
        """Return the new dataset, or the one that is there and was registered in the same way."""
        dataset = Dataset(
            owner=caller.owner,
            tenant=caller.tenant,
            dataset_id=dataset_id,
            purpose=asked.purpose,
            source=asked.source,
            metadata=asked.metadata,
            digest=b"",
            generation=uuid.uuid4().hex,
            rows=BUILDING,
            created_at=self._clock(),
        )
        _check_metadata(asked.metadata)
        if asked.source["type"] == "uri":
            return await self._from_uri(msgspec.structs.replace(dataset, digest=asked.digest))
        rows = asked.source["rows"]
        encoded, digest = await asyncio.to_thread(
            lambda: (self.encode("source.rows", rows), asked.digest)
        )
        source = {"type": "rows", "rows": len(rows)}
        whole = msgspec.structs.replace(dataset, source=source, digest=digest, rows=len(rows))
        return await self._add(whole, encoded)

    async def sweep(self) -> None:
        """Delete what processes that stopped have left half built."""
        await self._store.sweep(self._abandoned_before())

    def encode(self, field: str, rows: Sequence[Json]) -> list[bytes]:
        """Return rows that came with a request as they are stored."""
        return list(Encoder(field, self._settings.row_bytes, self._bounds).encode(rows))

    async def _from_uri(self, dataset: Dataset) -> Dataset:
        if len(dataset.source["uri"]) > URI_CHARS:
            raise PayloadTooLarge(
                f"{FIELD} has more than {URI_CHARS} characters: register its rows"
            )
        added = await self._add(dataset, ())
        if added.generation != dataset.generation:
            return added
        try:
            with self._one_more(dataset.owner):
                rows = await self._read(dataset)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._store.abandon(dataset)
            raise
        return msgspec.structs.replace(dataset, rows=rows)

    @contextmanager
    def _one_more(self, owner: str) -> Iterator[None]:
        """Count what is read for one owner: slow documents of theirs are in nobody else's way."""
        if self._read_for[owner] == DOCUMENTS_PER_OWNER:
            cause = f"{DOCUMENTS_PER_OWNER} of your datasets are just being read: wait for one."
            raise QuotaExceeded(cause, "Too many datasets")
        self._read_for[owner] += 1
        try:
            yield
        finally:
            self._read_for[owner] -= 1
            if not self._read_for[owner]:
                del self._read_for[owner]

    async def _add(self, dataset: Dataset, rows: Sequence[bytes]) -> Dataset:
        stored = await self._store.add(
            dataset, list(pack(0, rows)), self._settings.per_owner, self._abandoned_before()
        )
        if stored.generation == dataset.generation:
            return stored
        if stored.digest != dataset.digest:
            problem = f"{dataset.dataset_id!r} already exists; unregister it first to replace it"
            raise InvalidParams("dataset_id", problem)
        if stored.rows == BUILDING:
            problem = f"the rows of {dataset.dataset_id!r} are just being read; try again later"
            raise InvalidParams("dataset_id", problem)
        return stored

    def _abandoned_before(self) -> int:
        """Return when that was begun which nobody can still be building."""
        return self._clock() - int(2 * self._seconds * 1000)

    async def _read(self, dataset: Dataset) -> int:
        """Store all rows of a URI; returns how many there are."""
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._turns,
                self._documents.open(dataset.source["uri"]) as document,
            ):
                count = await self._build(dataset, document)
        except TimeoutError as exc:
            raise InvalidParams(FIELD, "takes too long to read") from exc
        if not await self._store.finish(dataset, count):
            # Unregistered meanwhile.
            raise ResourceNotFound(KIND, dataset.dataset_id)
        return count

    async def _build(self, dataset: Dataset, document: Document) -> int:
        encoder = Encoder(FIELD, self._settings.row_bytes, self._bounds)
        file = BoundedFile(document.file, self._settings.row_bytes)
        rows = encoder.encode(_rows(file, document))
        while True:
            first = encoder.count
            batch = await asyncio.to_thread(_batch, rows)
            if not batch:
                return encoder.count
            if not await self._store.build(dataset, list(pack(first, batch))):
                raise ResourceNotFound(KIND, dataset.dataset_id)


def _rows(file: BoundedFile, document: Document) -> Iterator[Json]:
    try:
        yield from read_rows(file, document.told)
    except Unreadable as exc:
        raise InvalidParams(FIELD, f"cannot be read: {exc.problem}") from exc


def _batch(rows: Iterator[bytes]) -> list[bytes]:
    """Return the next rows, as many as are stored at once."""
    batch: list[bytes] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row)
        if size >= BATCH_BYTES:
            break
    return batch


def _check_metadata(metadata: Json) -> None:
    try:
        size = len(msgspec.json.encode(metadata))
    except (UnicodeEncodeError, RecursionError) as exc:
        raise InvalidParams("metadata", "is not JSON, or is nested too deeply") from exc
    if size > METADATA_BYTES:
        raise PayloadTooLarge(f"metadata has more than {METADATA_BYTES} bytes of JSON")
