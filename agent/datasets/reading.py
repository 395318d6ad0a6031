"""The rows of a dataset, as they are read: a part of them at a time, however many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agent.errors import ResourceNotFound

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from a2a_state.dataset_chunks import Chunk
    from a2a_state.datasets import Dataset, DatasetStore

type Json = Any

KIND = "dataset"


class Reading:
    """Some rows of a dataset as it was when this was made: what is appended later is not among them."""

    def __init__(
        self, store: DatasetStore, dataset: Dataset, start: int = 0, limit: int | None = None
    ) -> None:
        """Nothing is read; None is no limit. ``has_more`` is Llama Stack's."""
        self._store = store
        self._dataset = dataset
        self._start = start
        self._end = dataset.rows if limit is None else min(start + limit, dataset.rows)
        self.has_more = limit is not None and start + limit < dataset.rows

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Yield JSON arrays of rows, none of them empty and all of bounded size.

        Raises ``ResourceNotFound`` when the dataset is deleted meanwhile.
        """
        row = self._start
        while row < self._end:
            chunk = await self._store.chunk(self._dataset, row)
            if chunk is None or chunk.last_row < row:
                raise ResourceNotFound(KIND, self._dataset.dataset_id)
            yield _cut(chunk, row, self._end)
            row = chunk.last_row + 1

    async def first(self, most: int) -> list[Json]:
        """Return the first rows, as many as have ``most`` bytes of JSON."""
        rows: list[Json] = []
        async for chunk in self.chunks():
            for row in msgspec.json.decode(chunk, type=list[msgspec.Raw]):
                most -= len(row)
                if most < 0:
                    return rows
                rows.append(msgspec.json.decode(row))
        return rows


def _cut(chunk: Chunk, start: int, end: int) -> bytes:
    """Return the rows of a chunk that are within ``start`` .. ``end - 1``."""
    if chunk.first_row >= start and chunk.last_row < end:
        return chunk.body
    rows = msgspec.json.decode(chunk.body, type=list[msgspec.Raw])
    wanted = rows[max(start - chunk.first_row, 0) : end - chunk.first_row]
    return b"[" + b",".join(map(bytes, wanted)) + b"]"
