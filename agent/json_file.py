"""New files of JSON for others to collect: each is there whole or not at all, for its owner only."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from uuid import uuid4

import msgspec

if TYPE_CHECKING:
    from pathlib import Path


def store_json(folder: Path, document: object) -> Path:
    """Write a document into a new file of a folder, which is made if need be. Raises ``OSError``."""
    encoded = msgspec.json.encode(document)
    _make(folder)
    name = str(uuid4())
    # Whoever collects the files looks for names that end in .json.
    unfinished, file = folder / f".{name}.tmp", folder / f"{name}.json"
    try:
        _write(unfinished, encoded)
        unfinished.rename(file)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return file


def _make(folder: Path) -> None:
    """Make a folder and those above it, all for their owner only: ``mkdir`` sees to the last one alone."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:
        _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        # A name that leads to nothing after a crash would be neither whole nor not there.
        os.fsync(descriptor)
