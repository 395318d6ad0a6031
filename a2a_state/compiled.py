"""Statements of every turn, compiled once: SQLAlchemy takes longer for an execution than SQLite does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, CursorResult, Executable

    from a2a_state.database import Database


class Compiled:
    """A statement with all of its parameters bound by name, and none that is a list.

    Values go in and come out as the driver has them: of text, numbers and bytes that is the same.
    """

    def __init__(self, database: Database, statement: Executable) -> None:
        """Compile it for a database."""
        made: Any = statement.compile(dialect=database.sql_dialect)  # type: ignore[attr-defined]
        self._sql = str(made)
        self._names: tuple[str, ...] = tuple(made.positiontup or ())
        # those that the statement has itself
        self._known: dict[str, Any] = {
            name: value for name, value in made.params.items() if value is not None
        }

    def run(
        self, connection: Connection, values: Mapping[str, Any]
    ) -> CursorResult[*tuple[Any, ...]]:
        """Execute it."""
        all_values = {**self._known, **values}
        return connection.exec_driver_sql(
            self._sql, tuple(all_values[name] for name in self._names)
        )
