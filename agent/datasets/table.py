"""Rows of CSV: the first line names the columns, and what is in a column tells its type.

As in Llama Stack, where pandas reads them, numbers and booleans are such when all of their column are. But
nothing is lost on the way: numbers with leading zeros and those that no JSON number stands for stay text, so
do words such as ``NA`` in a column of text, and whole numbers stay whole beside cells that are empty.
"""

from __future__ import annotations

import csv
import re
import sys
from typing import TYPE_CHECKING

from agent.datasets.wrong import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agent.datasets.bounded import BoundedFile

    type Cell = str | int | float | bool | None

_WHOLE = re.compile(r" *[+-]?(0|[1-9]\d{0,17}) *", re.ASCII)
_NUMBER = re.compile(r" *[+-]?(0|[1-9]\d{0,17})?(\.\d{0,18})?([eE][+-]?\d{1,2})? *", re.ASCII)
_DIGIT = re.compile(r"^ *[+-]?\.?\d", re.ASCII)
_BOOLEANS = {
    "True": True,
    "TRUE": True,
    "true": True,
    "False": False,
    "FALSE": False,
    "false": False,
}
# Not there, for pandas; here only where all others are numbers or booleans.
_NOTHING = frozenset(
    {"", "#N/A", "#N/A N/A", "#NA", "-NaN", "-nan", "<NA>", "N/A", "NA"}
    | {"NULL", "NaN", "None", "n/a", "nan", "null"}
)


def read_table(file: BoundedFile) -> Iterator[dict[str, Cell]]:
    """Yield the rows; the file is read twice. Raises ``Unreadable``."""
    names: list[str] = []
    kinds: list[_Kind] = []
    for record in _records(file):
        if not names:
            names = _names(record)
            kinds = [_Kind() for _ in names]
            continue
        for kind, text in zip(kinds, record, strict=False):
            kind.see(text)
    file.rewind()
    readers = [kind.reader() for kind in kinds]
    records = _records(file)
    next(records, None)
    for number, record in enumerate(records):
        if len(record) > len(names):
            raise Unreadable(f"row {number} has more cells than there are columns")
        cells = (*record, *[""] * (len(names) - len(record)))
        yield {name: read(text) for name, read, text in zip(names, readers, cells, strict=True)}


class _Kind:
    """What the cells of one column have in common."""

    def __init__(self) -> None:
        self._whole = self._number = self._boolean = True
        self._empty = True

    def see(self, text: str) -> None:
        """Look at one more cell."""
        if text in _NOTHING or not (self._number or self._boolean):
            return
        self._empty = False
        self._boolean = self._boolean and text in _BOOLEANS
        self._whole = self._whole and _WHOLE.fullmatch(text) is not None
        self._number = self._number and (self._whole or _is_number(text))

    def reader(self) -> Callable[[str], Cell]:
        """Return what reads a cell."""
        if self._empty:
            return _text
        if self._boolean:
            return _BOOLEANS.get
        if self._whole:
            return lambda text: None if text in _NOTHING else int(text)
        if self._number:
            return lambda text: None if text in _NOTHING else float(text)
        return _text


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and _DIGIT.match(text) is not None


def _text(text: str) -> Cell:
    return text or None


def _names(record: Sequence[str]) -> list[str]:
    names = [name or f"Unnamed: {index}" for index, name in enumerate(record)]
    if len(set(names)) < len(names):
        raise Unreadable("its first line names a column twice")
    return names


def _records(file: BoundedFile) -> Iterator[list[str]]:
    # The file bounds a row, and with it a cell: the bound of 128 KiB is for all of the process.
    csv.field_size_limit(sys.maxsize)
    records = csv.reader(_lines(file), strict=True)
    while True:
        file.begin_row()
        try:
            record = next(records, None)
        except csv.Error as exc:
            raise Unreadable(f"line {records.line_num} is not CSV") from exc
        except UnicodeDecodeError as exc:
            raise Unreadable(f"line {records.line_num + 1} is not UTF-8") from exc
        if record is None:
            return
        # A blank line is no row.
        if record:
            yield record


def _lines(file: BoundedFile) -> Iterator[str]:
    while line := file.read_line():
        yield line.decode()
