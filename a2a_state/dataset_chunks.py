"""How the rows of datasets are stored: several to a row of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

CHUNK_BYTES = 64 * 1024
CHUNK_ROWS = 1000
"""Most of one row of ``dataset_rows``; a single row that is larger stands alone."""


class Chunk(msgspec.Struct, frozen=True):
    """The rows ``first_row`` .. ``last_row``; ``body`` is a JSON array of them."""

    first_row: int
    last_row: int
    body: bytes


class Bounds(msgspec.Struct, frozen=True):
    """The most that one dataset may hold: rows, and bytes of JSON."""

    rows: int
    bytes: int


def pack(first_row: int, rows: Iterable[bytes]) -> Iterator[Chunk]:
    """Yield rows, each a JSON object, as they are stored; ``first_row`` is the number of the first."""
    held: list[bytes] = []
    size = 0
    for row in rows:
        if held and (size + len(row) > CHUNK_BYTES or len(held) == CHUNK_ROWS):
            yield _chunk(first_row, held)
            first_row += len(held)
            held, size = [], 0
        held.append(row)
        size += len(row) + 1
    if held:
        yield _chunk(first_row, held)


def _chunk(first_row: int, rows: Sequence[bytes]) -> Chunk:
    return Chunk(first_row, first_row + len(rows) - 1, b"[" + b",".join(rows) + b"]")
