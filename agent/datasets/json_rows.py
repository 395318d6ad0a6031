"""Rows of one JSON document: a list of them, or an object with that list as its ``data``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.datasets.wrong import Unreadable
from agent.nesting import NESTING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.datasets.bounded import BoundedFile

type Json = Any

DATA = "data"


def read_json(file: BoundedFile) -> Iterator[Json]:
    """Yield the rows as they come, whatever they are; raises ``Unreadable``."""
    import ijson  # type: ignore[import-untyped] # it has no types

    found = _Found()
    count = 0
    try:
        # Events and not ijson's own items, which take quadratic time for what is deeply nested.
        for event, value in ijson.basic_parse(file, use_float=True):
            for row in found.hear(event, value):
                file.begin_row()
                count += 1
                yield row
    except (ijson.JSONError, UnicodeDecodeError) as exc:
        raise Unreadable(f"it is not JSON from row {count} on") from exc
    if not found.has_list:
        raise Unreadable("it is neither a list of rows nor an object with one as its data")


class _Found:
    """Puts rows together from the events of ijson."""

    def __init__(self) -> None:
        from ijson.common import ObjectBuilder  # type: ignore[import-untyped] # it has no types

        self._new_builder = ObjectBuilder
        self._builder: Any = None
        self._depth = 0
        self._key: str | None = None
        self._rows_at: int | None = None
        self.has_list = False

    def hear(self, event: str, value: Json) -> Iterator[Json]:
        """Yield the row that ends with an event."""
        if event.startswith("end_"):
            self._depth -= 1
        self._place(event, value)
        if event.startswith("start_"):
            self._depth += 1
        if self._depth > NESTING + 2:
            raise Unreadable(f"it is nested more than {NESTING} levels deep")
        if self._builder is not None and self._depth == self._rows_at:
            row, self._builder = self._builder.value, None
            yield row

    def _place(self, event: str, value: Json) -> None:
        if self._rows_at is None:
            self._look_for_list(event, value)
        elif self._depth < self._rows_at:
            self._rows_at = None
        else:
            self._builder = self._builder or self._new_builder()
            self._builder.event(event, value)

    def _look_for_list(self, event: str, value: Json) -> None:
        if event == "map_key" and self._depth == 1:
            self._key = value
        is_it = self._depth == 0 or (self._depth == 1 and self._key == DATA)
        if event == "start_array" and is_it:
            self._rows_at = self._depth + 1
            self.has_list = True
