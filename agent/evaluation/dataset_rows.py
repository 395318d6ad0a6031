"""The rows of a dataset, as an evaluation reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from agent.evaluation.row import Row

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from agent.caller import Caller

type Json = Any

CHUNK = 10
"""How many rows are read, evaluated and kept at a time."""


class Datasets(Protocol):
    """Where rows are read."""

    async def get(self, caller: Caller, dataset_id: str) -> Json:
        """Return the dataset; raises ``ResourceNotFound``."""

    def pages(
        self, caller: Caller, dataset_id: str, start: int = 0, size: int = 200
    ) -> AsyncIterator[Sequence[Json]]:
        """Yield rows from the one of number ``start`` on; raises ``ResourceNotFound``."""


async def chunks_of(
    datasets: Datasets, caller: Caller, dataset_id: str, start: int, most: int | None
) -> AsyncGenerator[list[Row]]:
    """Yield the rows ``start`` to ``most`` of a dataset, a few at a time; None is to its end."""
    number = start
    if most is not None and number >= most:
        return
    pages = datasets.pages(caller, dataset_id, start, CHUNK)
    try:
        async for page in pages:
            rows = [Row(f"rows[{number + place}]", row) for place, row in enumerate(page)]
            number += len(rows)
            if most is None or number < most:
                yield rows
                continue
            yield rows[: len(rows) - (number - most)]
            return
    finally:
        close = getattr(pages, "aclose", None)
        if close is not None:
            await close()
