"""Documents that datasets are read from: CSV, JSON and JSON lines, row by row."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from agent.datasets.json_rows import DATA, read_json
from agent.datasets.table import read_table
from agent.datasets.wrong import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.datasets.bounded import BoundedFile

    type Json = Any
    type Format = Literal["csv", "json", "jsonl"]

_FORMATS: dict[str, Format] = {
    "csv": "csv",
    "text/csv": "csv",
    "application/csv": "csv",
    ".csv": "csv",
    "json": "json",
    "application/json": "json",
    "text/json": "json",
    ".json": "json",
    "jsonl": "jsonl",
    "application/jsonl": "jsonl",
    "application/json-lines": "jsonl",
    "application/x-jsonlines": "jsonl",
    "application/x-ndjson": "jsonl",
    "application/ndjson": "jsonl",
    "text/jsonl": "jsonl",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_PAGES = (b"<!doctype html", b"<html")
_decode = msgspec.json.Decoder().decode


def declared(media_type: str, path: str) -> Format | None:
    """Return the format that the media type tells, or else the end of the path."""
    suffix = PurePosixPath(path).suffix.lower()
    return _FORMATS.get(media_type.lower()) or _FORMATS.get(suffix)


def read_rows(file: BoundedFile, told: Format | None) -> Iterator[Json]:
    """Yield the rows, whatever they are; raises ``Unreadable``, and ``PayloadTooLarge``."""
    head, follows = file.head()
    if head.lstrip().lower().startswith(_PAGES):
        raise Unreadable("it is an HTML page")
    if told == "csv" or (told is None and not head.startswith((b"[", b"{"))):
        return read_table(file)
    if told == "jsonl" or (head.startswith(b"{") and _is_row(head, follows=follows)):
        return _read_lines(file)
    return read_json(file)


def _is_row(line: bytes, *, follows: bool) -> bool:
    """Whether a document that begins with an object on one line is one of JSON lines."""
    try:
        value = _decode(line)
    except (msgspec.DecodeError, RecursionError):
        return False
    return follows or not isinstance(value.get(DATA), list)


def _read_lines(file: BoundedFile) -> Iterator[Json]:
    number = 0
    while line := file.read_line():
        file.begin_row()
        number += 1
        if not line.strip():
            continue
        try:
            yield _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise Unreadable(f"line {number} is not JSON") from exc
