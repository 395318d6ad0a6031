"""The three kinds of database behave alike."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sqlalchemy import Connection, func, select, text
from sqlalchemy.engine import make_url

from a2a_state.database import connect
from a2a_state.tables import contexts, task_events, tasks
from agent.errors import StateError, StateUnavailable
from tests.fakes.state import cut_connections, entry, open_database, open_journal, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from a2a_state.database import Database
    from tests.fakes.postgres import Postgres

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Return an open database with all tables."""
    async with open_database(database_url) as opened:
        yield opened


def add(connection: Connection, context_id: Any, created_at: int = 1) -> None:
    """Insert a context."""
    row = {"owner": "ann", "tenant": "", "context_id": context_id, "stack": "s"}
    connection.execute(contexts.insert(), row | {"conversation_id": "c", "created_at": created_at})


def ids(connection: Connection) -> list[str]:
    """Return the ids of all contexts."""
    return list(connection.execute(select(contexts.c.context_id).order_by("context_id")).scalars())


async def test_what_is_written_can_be_read(database: Database) -> None:
    await database.write(partial(add, context_id="a"))

    assert await database.read(ids) == ["a"]


async def test_work_that_raises_leaves_nothing_behind(database: Database) -> None:
    def work(connection: Connection) -> None:
        add(connection, "a")
        raise LookupError("changed my mind")

    with pytest.raises(LookupError):
        await database.write(work)

    assert await database.read(ids) == []
    await database.write(partial(add, context_id="b"))
    assert await database.read(ids) == ["b"]


async def test_a_read_leaves_no_transaction_open(database: Database) -> None:
    """Readers that come back later see what was written in between, on whichever connection."""
    for number in range(6):
        await asyncio.gather(*(database.read(ids) for _ in range(6)))
        await database.write(partial(add, context_id=str(number)))
        assert len(await database.read(ids)) == number + 1


async def test_many_at_once_all_come_through(database: Database) -> None:
    async with anyio.create_task_group() as group:
        for number in range(30):
            group.start_soon(database.write, partial(add, context_id=f"{number:02}"))
            group.start_soon(database.read, ids)

    assert await database.read(ids) == [f"{number:02}" for number in range(30)]


@pytest.mark.parametrize("context_id", [None, "\ud83d"], ids=["null", "half a surrogate pair"])
async def test_a_value_that_cannot_be_stored_is_an_error_for_good(
    database: Database, context_id: str | None
) -> None:
    """Trying again would not help, and the caller hears nothing of the driver's words."""
    with pytest.raises(StateError) as caught:
        await database.write(partial(add, context_id=context_id))

    assert not isinstance(caught.value, StateUnavailable)
    assert caught.value.message == "What this server remembers could not be read or written."
    assert caught.value.__cause__ is not None
    assert await database.read(ids) == []


async def test_a_number_of_more_than_64_bits_is_an_error_for_good(database: Database) -> None:
    with pytest.raises(StateError) as caught:
        await database.write(partial(add, context_id="a", created_at=1 << 70))

    assert not isinstance(caught.value, StateUnavailable)


async def test_the_same_key_twice_is_an_error_for_good(database: Database) -> None:
    await database.write(partial(add, context_id="a"))

    with pytest.raises(StateError) as caught:
        await database.write(partial(add, context_id="a"))

    assert not isinstance(caught.value, StateUnavailable)


async def test_the_events_of_a_task_go_with_it(database: Database) -> None:
    """Foreign keys are enforced on every connection."""
    async with open_journal(database) as journal:
        assert await write(journal, entry()) == [None]

    await database.write(lambda connection: connection.execute(tasks.delete()))

    count = select(func.count()).select_from(task_events)
    assert await database.read(lambda connection: connection.execute(count).scalar()) == 0


async def test_a_database_that_was_never_opened_can_be_closed(database_url: str) -> None:
    await connect(make_url(database_url)).close()


async def test_an_insert_knows_what_to_do_on_conflict(database: Database) -> None:
    statement = database.insert(contexts).on_conflict_do_nothing()
    row = {"owner": "", "tenant": "", "context_id": "a", "stack": "", "conversation_id": ""}

    def work(connection: Connection) -> int:
        connection.execute(statement, row | {"created_at": 1})
        return connection.execute(statement, row | {"created_at": 2}).rowcount

    assert await database.write(work) == 0


async def test_the_folder_of_a_file_is_made_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "state.db"

    async with open_database(f"sqlite:///{path}"):
        assert path.exists()
        assert path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["file/state.db", "folder"])
async def test_a_file_that_cannot_be_is_said_so(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    database = connect(make_url(f"sqlite:///{tmp_path / name}"))

    with pytest.raises(StateUnavailable):
        await database.open()
    await database.close()


async def test_memory_is_forgotten_when_it_is_closed() -> None:
    for _ in range(2):
        async with open_database("sqlite://") as database:
            await database.write(partial(add, context_id="a"))


async def test_two_processes_that_read_and_then_write_one_file_take_turns(tmp_path: Path) -> None:
    """The lock is taken when the transaction begins: what was read is still true when it ends."""
    url = f"sqlite:///{tmp_path / 'state.db'}"

    def count_up(connection: Connection) -> None:
        add(connection, f"{len(ids(connection)):02}")

    async with open_database(url) as one, open_database(url) as other:
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(one.write, count_up)
                group.start_soon(other.write, count_up)

        assert await one.read(ids) == [f"{number:02}" for number in range(20)]


async def test_a_file_is_read_while_it_is_written(tmp_path: Path) -> None:
    """Readers see what was committed before, and wait for nobody."""
    async with open_database(f"sqlite:///{tmp_path / 'state.db'}") as database:
        await database.write(partial(add, context_id="a"))
        loop = asyncio.get_running_loop()

        def work(connection: Connection) -> list[str]:
            add(connection, "b")
            return asyncio.run_coroutine_threadsafe(database.read(ids), loop).result(5)

        assert await database.write(work) == ["a"]
        assert await database.read(ids) == ["a", "b"]


async def test_a_file_that_another_process_keeps_locked_is_not_available(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with open_database(f"sqlite:///{path}") as database:
        await database.write(lambda c: c.exec_driver_sql("PRAGMA busy_timeout=1"))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(StateUnavailable):
            await database.write(partial(add, context_id="a"))
        assert await database.read(ids) == []

        other.close()
        await database.write(partial(add, context_id="a"))
        assert await database.read(ids) == ["a"]


async def test_postgresql_is_there_again_after_its_connections_were_cut(
    postgres: Postgres, postgres_url: str
) -> None:
    """The whole pool is dropped with the first broken connection, and a read is tried once more."""
    async with open_database(postgres_url) as database:
        await asyncio.gather(*(database.read(ids) for _ in range(4)))
        cut_connections(postgres)

        assert await database.read(ids) == []
        await database.write(partial(add, context_id="a"))
        assert await database.read(ids) == ["a"]


async def test_a_cut_in_the_middle_of_a_write_leaves_nothing_behind(
    postgres: Postgres, postgres_url: str
) -> None:
    async with open_database(postgres_url) as database:

        def work(connection: Connection) -> None:
            add(connection, "a")
            cut_connections(postgres)
            add(connection, "b")

        with pytest.raises(StateUnavailable):
            await database.write(work)

        assert await database.read(ids) == []


async def test_of_two_that_wait_for_each_other_one_may_try_again(postgres_url: str) -> None:
    """PostgreSQL ends a deadlock by refusing one of them."""

    def work(connection: Connection, first: int, second: int) -> None:
        lock = text("SELECT pg_advisory_xact_lock(:key)")
        connection.execute(text("SET LOCAL deadlock_timeout = '10ms'"))
        connection.execute(lock, {"key": first})
        while connection.execute(held).scalar() != 2:
            pass
        connection.execute(lock, {"key": second})

    held = text(
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
        " WHERE datname = current_database() AND locktype = 'advisory' AND granted"
    )

    async with open_database(postgres_url) as database:
        outcomes = await asyncio.gather(
            database.write(partial(work, first=1, second=2)),
            database.write(partial(work, first=2, second=1)),
            return_exceptions=True,
        )

    assert [type(outcome) for outcome in outcomes if outcome] == [StateUnavailable]


@pytest.mark.parametrize(
    ("sqlstate", "error"),
    [
        ("57P03", StateUnavailable),  # the database system is starting up
        ("53300", StateUnavailable),  # too many connections
        ("28P01", StateError),  # wrong password
        ("3D000", StateError),  # no such database
    ],
)
async def test_a_server_that_takes_nobody_now_is_not_one_that_never_will(
    sqlstate: str, error: type[StateError]
) -> None:
    async with refusing_server(sqlstate) as port:
        database = connect(make_url(f"postgresql://ann:secret@127.0.0.1:{port}/state"))
        with pytest.raises(StateError) as caught:
            await database.open()
        await database.close()

    assert type(caught.value) is error
    assert "secret" not in str(caught.value)


async def test_a_server_that_is_not_there_is_not_available(unused_port: int) -> None:
    database = connect(make_url(f"postgresql://ann:secret@127.0.0.1:{unused_port}/state"))

    with pytest.raises(StateUnavailable) as caught:
        await database.open()
    await database.close()

    assert "secret" not in str(caught.value)


@pytest.fixture
async def unused_port() -> int:
    """Return a port that nobody listens on."""
    async with refusing_server("57P03") as port:
        return port


@asynccontextmanager
async def refusing_server(sqlstate: str) -> AsyncIterator[int]:
    """Run a server that refuses every connection as PostgreSQL does; yields its port."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)  # asks for TLS
        writer.write(b"N")
        await reader.read(1000)  # says who it is
        body = b"SFATAL\0VFATAL\0C" + sqlstate.encode() + b"\0Mnot now\0\0"
        writer.write(b"E" + (len(body) + 4).to_bytes(4) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_new_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """One that is there keeps what its owner gave it."""
    new, old = tmp_path / "folder" / "new.db", tmp_path / "old.db"
    old.touch(mode=0o640)
    for path in (new, old):
        async with open_database(f"sqlite:///{path}"):
            pass

    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
