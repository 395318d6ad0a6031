"""What is sent to a database."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from a2a_state.database import Database


@contextmanager
def statements(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """Keep what is sent to one database: statements and parameters. Others may be in use beside it."""
    sent: list[tuple[str, Any]] = []

    def keep(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement, parameters))

    event.listen(database.sync_engine, "before_cursor_execute", keep)
    try:
        yield sent
    finally:
        event.remove(database.sync_engine, "before_cursor_execute", keep)
