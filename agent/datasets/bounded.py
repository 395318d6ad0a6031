"""A file of which no row takes more memory than it may."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import PayloadTooLarge

if TYPE_CHECKING:
    from typing import IO

READ_BYTES = 64 * 1024
_MARK = b"\xef\xbb\xbf"  # Of UTF-8, which some programs write first.


class BoundedFile:
    """Reads a binary file; raises ``PayloadTooLarge`` where too much is read for one row."""

    def __init__(self, file: IO[bytes], row_bytes: int) -> None:
        """Keep the file, which can be read anew from its beginning."""
        self._file = file
        self._row_bytes = row_bytes
        # Readers take whole blocks, also of what follows, and white space costs nothing.
        self._most = 2 * row_bytes + 2 * READ_BYTES
        self.rewind()

    def rewind(self) -> None:
        """Go back to the beginning."""
        self._file.seek(0)
        if self._file.read(len(_MARK)) != _MARK:
            self._file.seek(0)
        self._read = 0

    def begin_row(self) -> None:
        """Count anew."""
        self._read = 0

    def read(self, size: int = READ_BYTES) -> bytes:
        """Return up to ``size`` bytes, none at the end."""
        return self._counted(self._file.read(min(size, READ_BYTES)))

    def read_line(self) -> bytes:
        """Return a line with its end, nothing at the end of the file."""
        return self._counted(self._file.readline(self._most + 1))

    def head(self) -> tuple[bytes, bool]:
        """Return the first line that is not blank, as far as it may go, and whether more follows."""
        line = b""
        while (read := self._file.readline(self._most)) and not (line := read.strip()):
            pass
        follows = bool(self._file.read(READ_BYTES).strip())
        self.rewind()
        return line, follows

    def _counted(self, data: bytes) -> bytes:
        self._read += len(data)
        if self._read > self._most:
            raise PayloadTooLarge(f"A row of the document has more than {self._row_bytes} bytes")
        return data
