"""Rows of datasets: JSON objects, each written on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agent.errors import InvalidParams, PayloadTooLarge
from agent.nesting import NESTING, too_deep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from a2a_state.dataset_chunks import Bounds

type Json = Any


class Encoder:
    """Writes the rows of one dataset, and counts them."""

    def __init__(self, field: str, row_bytes: int, bounds: Bounds) -> None:
        """Errors name ``field``, and the number of the row."""
        self._field = field
        self._row_bytes = row_bytes
        self._bounds = bounds
        self.count = 0
        self._size = 0

    def encode(self, rows: Iterable[Json]) -> Iterator[bytes]:
        """Yield the rows as JSON; what is no number becomes null.

        Raises ``InvalidParams`` for what is no row, ``PayloadTooLarge`` where there is too much.
        """
        for row in rows:
            yield self._encoded(row)

    def _encoded(self, row: Json) -> bytes:
        if self.count >= self._bounds.rows:
            raise PayloadTooLarge(f"A dataset has at most {self._bounds.rows} rows")
        if not isinstance(row, dict):
            raise self._wrong("is not a JSON object")
        try:
            encoded = msgspec.json.encode(row)
        except UnicodeEncodeError as exc:
            raise self._wrong("has text that is not Unicode") from exc
        except RecursionError as exc:
            raise self._wrong(f"is nested more than {NESTING} levels deep") from exc
        if too_deep(encoded):
            raise self._wrong(f"is nested more than {NESTING} levels deep")
        if len(encoded) > self._row_bytes:
            raise PayloadTooLarge(
                f"Row {self.count} of {self._field} has more than {self._row_bytes} bytes of JSON"
            )
        self.count += 1
        self._size += len(encoded)
        if self._size > self._bounds.bytes:
            raise PayloadTooLarge(
                f"The rows of a dataset have at most {self._bounds.bytes} bytes of JSON"
            )
        return encoded

    def _wrong(self, problem: str) -> InvalidParams:
        return InvalidParams(self._field, f"row {self.count} {problem}")
