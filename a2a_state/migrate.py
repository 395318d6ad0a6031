"""Brings a database to the schema of this version (alembic)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from agent.errors import StateError

if TYPE_CHECKING:
    from alembic.config import Config

    from a2a_state.database import Database

HEAD = "0005"
"""The newest revision; a test holds it against the files."""

# One name, quoted: nothing else can be put into a statement.
_QUOTED = re.compile(r'"(?:[^"]|"")+"')

# Any number, the same for all replicas: they migrate one after another.
_LOCK = 0x6C6C616D61613261


async def migrate(database: Database) -> None:
    """Apply what is missing, in one transaction; replicas that start at once take turns.

    Raises ``StateError``, also when a newer version has been here: nothing is changed then.
    """
    if await database.read(_revision) != HEAD:
        await database.write(_upgrade)


async def is_current(database: Database) -> bool:
    """Whether the schema is this version's."""
    return await database.read(_revision) == HEAD


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(
        text("SELECT version_num FROM alembic_version")
    ).scalar()
    return revision


def _upgrade(connection: Connection) -> None:
    # Imported where it is needed: a database that is up to date starts without it.
    from alembic import command
    from alembic.util import CommandError

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        _make_schema(connection)
    try:
        command.upgrade(_config(connection), "head")
    except CommandError as exc:
        raise StateError("The state database is of a newer version of this server.") from exc


def _make_schema(connection: Connection) -> None:
    """Make the schema that the connection asks for, unless it is there: nobody else does, for LCS."""
    current, path = connection.execute(
        text("SELECT current_schema(), current_setting('search_path')")
    ).one()
    if current is None and _QUOTED.fullmatch(path):
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {path}"))


def _config(connection: Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
