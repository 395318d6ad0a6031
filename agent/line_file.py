"""A file of lines that other processes append to as well, and that others yet may move away."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

STANDARD_ERROR = 2


class LineFile:
    """Appends each line in one piece; without a path to standard error.

    A line is written when ``write`` returns: the operating system has it, whatever becomes of this
    process. It does not wait for the disk, so that it may be called from an event loop.
    """

    def __init__(self, path: Path | None) -> None:
        """Nothing is opened before ``open``."""
        self._path = path
        self._descriptor = STANDARD_ERROR
        self._file: tuple[int, int] | None = None
        self._is_torn = False

    def open(self) -> None:
        """Open or create the file, for its owner only. Raises ``OSError``."""
        if self._path is not None:
            self._descriptor, self._file = _opened(self._path)

    def check(self) -> None:
        """Raise what ``open`` would, as far as that can be told; no file is created."""
        if self._path is None:
            return
        try:
            descriptor, _ = _opened(self._path, os.O_WRONLY)
            os.close(descriptor)
        except FileNotFoundError:
            folder = self._path.parent
            if not folder.is_dir():
                raise
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None

    def close(self) -> None:
        """Close the file; safe to call when ``open`` failed, and twice."""
        if self._file is not None:
            os.close(self._descriptor)
            self._file = None
        self._descriptor = STANDARD_ERROR

    def write(self, line: bytes) -> None:
        """Append ``line``, which ends in a line feed. Raises ``OSError`` when it may not be all there."""
        try:
            self._follow()
        finally:
            # Where there is no new file the old one is better than none.
            self._append(line)

    def _append(self, line: bytes) -> None:
        whole = b"\n" + line if self._is_torn else line
        written = os.write(self._descriptor, whole)
        if written:
            self._is_torn = written < len(whole)
        if written < len(whole):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _follow(self) -> None:
        """Go on in a new file when the path is not that of the open one any more."""
        if self._path is None or self._file is None:
            return
        try:
            found = os.stat(self._path)  # noqa: PTH116 - a third of the time of Path.stat
            is_same = (found.st_dev, found.st_ino) == self._file
        except FileNotFoundError:
            is_same = False
        if not is_same:
            descriptor, file = _opened(self._path)
            os.close(self._descriptor)
            self._descriptor, self._file, self._is_torn = descriptor, file, False


def _opened(path: Path, how: int = os.O_WRONLY | os.O_CREAT) -> tuple[int, tuple[int, int]]:
    # Without O_NONBLOCK a pipe would be waited for until somebody reads it.
    descriptor = os.open(path, how | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return descriptor, (found.st_dev, found.st_ino)
