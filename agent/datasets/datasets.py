"""Datasets of callers, and their rows, as Llama Stack's datasets and datasetio APIs have them.

They are kept in the state database, on every stack: a Llama Stack forgets rows that are appended.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from a2a_state.dataset_chunks import Bounds
from a2a_state.datasets import DatasetStore
from agent.clock import now
from agent.datasets.documents import Documents
from agent.datasets.ids import check_id, is_id
from agent.datasets.reading import KIND, Reading
from agent.datasets.registering import Asked, Registering
from agent.errors import InvalidParams, ResourceNotFound
from agent.outgoing.fetch import make_fetching

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from a2a_state.database import Database
    from a2a_state.datasets import Dataset
    from agent.caller import Caller
    from agent.outgoing.guard import Resolve
    from agent.settings import Settings

type Json = Any

PROVIDER = "llamastack-a2a"
READ_SECONDS = 300.0
"""How long the rows of one URI may take."""
SHOWN_BYTES = 1024 * 1024
"""As much of the rows that were registered is in the ``source`` of a dataset."""
SHOWN_IN_LIST_BYTES = 64 * 1024
LISTED = 20


class Datasets:
    """The datasets of all callers; what is another's answers exactly as what is not there."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        *,
        resolve: Resolve | None = None,
        clock: Callable[[], int] = now,
        seconds: float = READ_SECONDS,
    ) -> None:
        """Nothing is opened; ``seconds`` is how long the rows of one URI may take."""
        given = settings.experimental.datasets
        self._id_chars = settings.limits.id_chars
        self._bounds = Bounds(given.rows, given.bytes)
        self._store = DatasetStore(database)
        self._fetching = make_fetching(settings, resolve=resolve)
        documents = Documents(self._fetching, given.folder, given.bytes, seconds)
        self._registering = Registering(self._store, documents, given, clock, seconds)

    async def open(self) -> None:
        """Delete what a process that stopped has left half built."""
        await self._registering.sweep()

    async def close(self) -> None:
        """Close what fetches."""
        await self._fetching.close()

    async def register(
        self,
        caller: Caller,
        *,
        purpose: str,
        source: Json,
        metadata: Json = None,
        dataset_id: str | None = None,
    ) -> Json:
        """Store a dataset with all its rows, and return it.

        ``source`` is ``{"type": "rows", "rows": [...]}`` or ``{"type": "uri", "uri": "..."}``. The same
        again is answered with what is there. Nobody sees a dataset before it is whole. Raises
        ``InvalidParams``, ``PayloadTooLarge``, ``QuotaExceeded``.
        """
        if dataset_id is None:
            dataset_id = f"dataset-{uuid.uuid4()}"
        check_id(dataset_id, self._id_chars)
        caller.note("dataset_id", dataset_id)
        asked = Asked(purpose, source, metadata or {})
        return await self._shown(await self._registering.register(caller, dataset_id, asked))

    async def list(self, caller: Caller) -> AsyncIterator[Json]:
        """Yield the caller's datasets, the oldest first; of rows, fewer are shown than by ``get``."""
        last: Dataset | None = None
        while found := await self._store.list(caller.owner, caller.tenant, last, LISTED):
            for dataset in found:
                yield await self._shown(dataset, SHOWN_IN_LIST_BYTES)
            last = found[-1]

    async def get(self, caller: Caller, dataset_id: str) -> Json:
        """Return a dataset; raises ``ResourceNotFound``."""
        return await self._shown(await self._find(caller, dataset_id))

    async def unregister(self, caller: Caller, dataset_id: str) -> None:
        """Delete a dataset with its rows; it need not be there."""
        if is_id(dataset_id, self._id_chars):
            await self._store.remove(caller.owner, caller.tenant, dataset_id)

    async def iterrows(
        self, caller: Caller, dataset_id: str, start: int = 0, limit: int | None = None
    ) -> Reading:
        """Return the rows from ``start`` on, up to ``limit`` of them; None and -1 are no limit.

        Raises ``ResourceNotFound`` and ``InvalidParams``.
        """
        if start < 0:
            raise InvalidParams("start_index", "must be 0 or more")
        if limit is not None and limit < -1:
            raise InvalidParams("limit", "must be 0 or more, or -1 for all")
        dataset = await self._find(caller, dataset_id)
        return Reading(self._store, dataset, start, None if limit == -1 else limit)

    async def pages(
        self, caller: Caller, dataset_id: str, start: int = 0, size: int = 200
    ) -> AsyncIterator[Sequence[Json]]:
        """Yield the rows from ``start`` on, up to ``size`` at a time; raises ``ResourceNotFound``."""
        reading = await self.iterrows(caller, dataset_id, start)
        async with aclosing(reading.chunks()) as chunks:
            async for chunk in chunks:
                rows = msgspec.json.decode(chunk)
                for at in range(0, len(rows), size):
                    yield rows[at : at + size]

    async def append(self, caller: Caller, dataset_id: str, rows: Sequence[Json]) -> None:
        """Store rows after the last one, all or none.

        Raises ``ResourceNotFound``, ``InvalidParams``, ``PayloadTooLarge``.
        """
        await self._find(caller, dataset_id)
        encoded = await asyncio.to_thread(self._registering.encode, "rows", rows)
        is_there = not encoded or await self._store.append(
            caller.owner, caller.tenant, dataset_id, encoded, self._bounds
        )
        if not is_there:
            raise ResourceNotFound(KIND, dataset_id)

    async def _find(self, caller: Caller, dataset_id: str) -> Dataset:
        if is_id(dataset_id, self._id_chars):
            found = await self._store.get(caller.owner, caller.tenant, dataset_id)
            if found is not None:
                return found
        raise ResourceNotFound(KIND, dataset_id)

    async def _shown(self, dataset: Dataset, most: int = SHOWN_BYTES) -> Json:
        """Return a dataset as Llama Stack writes it, with the first of the rows that were registered."""
        source = dataset.source
        if source["type"] == "rows":
            rows = await Reading(self._store, dataset, 0, source["rows"]).first(most)
            source = {"type": "rows", "rows": rows}
        return {
            "identifier": dataset.dataset_id,
            "provider_resource_id": dataset.dataset_id,
            "provider_id": PROVIDER,
            "type": KIND,
            "purpose": dataset.purpose,
            "source": source,
            "metadata": dataset.metadata,
        }
