"""Databases are brought to the schema of this version."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine import make_url

from a2a_state import migrate as migrations
from a2a_state.database import connect
from a2a_state.migrate import HEAD, is_current, migrate
from a2a_state.schema import metadata
from agent.errors import StateError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from a2a_state.database import Database

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Return an open, empty database."""
    async with opened_database(database_url) as opened:
        yield opened


def differences(connection: Connection) -> list[Any]:
    """Return how the database differs from the tables, leaving out the index for searching."""

    def is_ours(_thing: Any, name: str | None, kind: str, _reflected: Any, _other: Any) -> bool:
        made_by_hand = (name or "").startswith(("passages_index", "ix_passages_terms"))
        return not (kind in {"table", "index"} and made_by_hand)

    context = MigrationContext.configure(
        connection,
        opts={"compare_type": True, "compare_server_default": True, "include_object": is_ours},
    )
    return list(compare_metadata(context, metadata))


def tables(connection: Connection) -> set[str]:
    """Return the names of all tables."""
    return set(inspect(connection).get_table_names())


async def test_an_empty_database_becomes_what_the_tables_say(database: Database) -> None:
    assert not await is_current(database)

    await migrate(database)

    assert await is_current(database)
    assert await database.read(differences) == []
    assert set(metadata.tables) <= await database.read(tables)


async def test_the_comparison_sees_differences(database: Database) -> None:
    """The test above would notice."""
    await migrate(database)

    def work(connection: Connection) -> None:
        connection.execute(text("DROP INDEX ix_tasks_updated"))
        connection.execute(text("ALTER TABLE tasks ADD COLUMN more INTEGER"))

    await database.write(work)

    found = str(await database.read(differences))
    assert "add_index" in found
    assert "remove_column" in found


async def test_primary_and_foreign_keys_are_what_the_tables_say(database: Database) -> None:
    """The comparison above does not look at the names and orders of keys."""
    await migrate(database)

    def keys(connection: Connection) -> dict[str, Any]:
        inspector = inspect(connection)
        return {
            name: (
                inspector.get_pk_constraint(name)["constrained_columns"],
                {
                    (*key["constrained_columns"], key["referred_table"], key["options"]["ondelete"])
                    for key in inspector.get_foreign_keys(name)
                },
            )
            for name in metadata.tables
        }

    assert await database.read(keys) == {
        name: (
            [column.name for column in table.primary_key],
            {
                (*key.column_keys, key.referred_table.name, key.ondelete)
                for key in table.foreign_key_constraints
            },
        )
        for name, table in metadata.tables.items()
    }


async def test_the_tables_of_lightspeeds_own_quotas_are_not_in_the_way(database: Database) -> None:
    """Its settings name the database, so it may be the same one."""
    theirs = ("CREATE TABLE quota_limits (id TEXT)", "CREATE TABLE token_usage (user_id TEXT)")

    def work(connection: Connection) -> None:
        for statement in theirs:
            connection.execute(text(statement))
        connection.execute(text("INSERT INTO token_usage VALUES ('ann')"))

    await database.write(work)

    await migrate(database)

    assert await is_current(database)
    kept = await database.read(lambda c: c.execute(text("SELECT * FROM token_usage")).all())
    assert [tuple(row) for row in kept] == [("ann",)]


async def test_migrating_again_changes_nothing(database: Database) -> None:
    await migrate(database)
    await database.write(lambda connection: connection.execute(text("DROP TABLE task_events")))

    await migrate(database)

    assert "task_events" not in await database.read(tables)


async def test_a_migration_that_breaks_leaves_nothing_behind(database: Database) -> None:
    """All of it is one transaction: the next start begins anew."""
    await database.write(lambda connection: connection.execute(text("CREATE TABLE tasks (x INT)")))

    with pytest.raises(StateError):
        await migrate(database)

    assert await database.read(tables) == {"tasks"}
    assert not await is_current(database)


async def test_several_replicas_migrate_one_database_at_once(
    postgres_url: str, tmp_path: Path
) -> None:
    for url in (postgres_url, f"sqlite:///{tmp_path / 'state.db'}"):
        async with AsyncExitStack() as stack:
            replicas = [await stack.enter_async_context(opened_database(url)) for _ in range(5)]

            await asyncio.gather(*(migrate(replica) for replica in replicas))

            assert all([await is_current(replica) for replica in replicas])
            assert await replicas[0].read(differences) == []


async def test_a_database_of_a_newer_version_is_left_alone(database: Database) -> None:
    """An older replica that starts late says so and touches nothing."""
    await migrate(database)
    newer = text("UPDATE alembic_version SET version_num = '9999'")
    await database.write(lambda connection: connection.execute(newer))

    with pytest.raises(StateError, match="newer"):
        await migrate(database)

    assert not await is_current(database)


async def test_tables_are_made_in_the_namespace_of_the_connection(postgres_url: str) -> None:
    """On PostgreSQL the settings name a schema, which is the search path of every connection."""
    namespace = {"server_settings": {"search_path": "agents"}}
    async with (
        opened_database(postgres_url) as public,
        opened_database(postgres_url, namespace) as database,
    ):
        await public.write(lambda connection: connection.execute(text("CREATE SCHEMA agents")))

        await migrate(database)

        assert await is_current(database)
        assert not await is_current(public)
        assert await database.read(differences) == []


@asynccontextmanager
async def opened_database(
    url: str, connect_args: dict[str, Any] | None = None
) -> AsyncIterator[Database]:
    """Open a database as it is."""
    database = connect(make_url(url), connect_args)
    try:
        await database.open()
        yield database
    finally:
        await database.close()


def test_the_newest_revision_is_the_newest_file() -> None:
    """Each revision follows the one before it."""
    folder = Path(migrations.__file__).parent / "migrations" / "versions"
    files = sorted(folder.glob("*.py"))
    revisions = [_assigned(file, "revision") for file in files]

    assert revisions[-1] == HEAD
    assert [_assigned(file, "down_revision") for file in files] == [None, *revisions[:-1]]
    assert [file.name[:4] for file in files] == revisions


def _assigned(file: Path, name: str) -> str | None:
    found = re.search(rf'^{name} = (?:"(\w+)"|None)$', file.read_text(), re.MULTILINE)
    assert found is not None
    return found[1]
