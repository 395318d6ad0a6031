"""Server-sent events of a model server -> the data of each; no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENT_BYTES = 16 * 1024 * 1024
"""Most bytes of one event: tools are called with whole documents."""

DONE = b"[DONE]"
"""What the data of the last event begins with."""


class EventReader:
    """Takes a stream in pieces, wherever these end; lines end with LF, CRLF or CR."""

    def __init__(self) -> None:
        """Nothing is read."""
        self._data: list[bytes] = []  # of an event whose end has not come
        self._begun: list[bytes] = []  # of a line whose end has not come
        self._sizes = [0, 0]  # of both
        self._after_cr = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the data of each event that ends in a piece; raises ``ValueError`` for one too large.

        Comments, other fields, and events without data are left out.
        """
        for line in self._lines(piece):
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
                self._sizes[0] += len(line)
            elif not line and self._data:
                data, self._data, self._sizes[0] = b"\n".join(self._data), [], 0
                yield data
        if sum(self._sizes) > EVENT_BYTES:
            raise ValueError("an event is too large")

    def _lines(self, piece: bytes) -> list[bytes]:
        """Return the lines that end in a piece; keep what comes after them."""
        if self._after_cr and piece:
            piece = piece.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in piece:
            self._after_cr = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = piece.split(b"\n")
        if lines:
            lines[0] = b"".join((*self._begun, lines[0]))
            self._begun.clear()
            self._sizes[1] = 0
        self._begun.append(rest)
        self._sizes[1] += len(rest)
        return lines
