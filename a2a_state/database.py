"""One database, SQLite (file or memory) or PostgreSQL, opened and closed by the composition root.

Work on it is a plain function of a SQLAlchemy ``Connection``: the same function, with the same
statements, runs on both. On PostgreSQL it runs on the event loop (asyncpg). On SQLite it runs on a
thread of its own: one hop for a whole transaction, where an asynchronous driver makes one for every
call of a cursor (measured: 0.4 ms instead of 1.5 ms for one small transaction).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import QueuePool, StaticPool

from agent.errors import StateError, StateUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import Dialect, Table
    from sqlalchemy.engine import URL

BUSY_TIMEOUT_MS = 10_000
SQLITE_READERS = 4
CACHE_KIB = 16 * 1024
READS = "reads"
"""The option of connections to SQLite that begin no transaction."""

# What PostgreSQL says of a connection, a deadlock, too little of something, a shutdown or start,
# a lock, and of a server that is not the primary any more.
_PASSING = ("08", "40", "53", "57", "55P03", "25006")


class Database(ABC):
    """Reads and writes of one database.

    Errors of the driver leave as ``StateUnavailable`` when trying again may help, else as
    ``StateError``; the cause is kept.
    """

    dialect: str
    in_memory = False
    """Whether everything ends with the process."""

    @abstractmethod
    async def open(self) -> None:
        """Connect once, so that a wrong address is known at start."""

    @abstractmethod
    async def close(self) -> None:
        """Close every connection."""

    @abstractmethod
    async def read[T](self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` outside a transaction: each statement sees what is committed when it starts."""

    @abstractmethod
    async def write[T](self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in one transaction, committed when this returns."""

    @abstractmethod
    def insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """Return an INSERT that knows ON CONFLICT: the same calls in both dialects."""

    @property
    @abstractmethod
    def sql_dialect(self) -> Dialect:
        """How statements are compiled for this database."""

    @property
    @abstractmethod
    def sync_engine(self) -> Engine:
        """The engine, for event listeners and migrations."""


class SqliteDatabase(Database):
    """A file (write-ahead log; one writer, several readers), or memory.

    An in-memory database is its one connection, and waits for nothing: it is used from the event
    loop's thread, where work cannot overlap.
    """

    dialect = "sqlite"

    def __init__(self, url: URL) -> None:
        """Nothing is opened."""
        self._url = url.set(drivername="sqlite")
        self.in_memory = url.database in (None, "", ":memory:")

    async def open(self) -> None:
        """Make the folder, the threads and the engine."""
        if not self.in_memory:
            with _translated():
                _make(Path(str(self._url.database)))
        self._writer = ThreadPoolExecutor(1, "sqlite-writer")
        self._readers = ThreadPoolExecutor(SQLITE_READERS, "sqlite-reader")
        self._engine = create_engine(
            self._url,
            connect_args={"check_same_thread": False, "cached_statements": 512},
            poolclass=StaticPool if self.in_memory else QueuePool,
            **({} if self.in_memory else {"pool_size": SQLITE_READERS + 1, "max_overflow": 0}),
            pool_reset_on_return=None,
            hide_parameters=True,
        )
        event.listen(self._engine, "connect", _prepare_sqlite)
        event.listen(self._engine, "begin", _begin_sqlite)
        # Not AUTOCOMMIT: for that SQLAlchemy sets a pragma, after which SQLite prepares all statements anew.
        self._reading = self._engine.execution_options(**{READS: True})
        await self.read(_ping)

    async def close(self) -> None:
        """Wait for what is running, then close."""
        if hasattr(self, "_engine"):
            await asyncio.to_thread(self._writer.shutdown)
            await asyncio.to_thread(self._readers.shutdown)
            self._engine.dispose()

    async def read[T](self, work: Callable[[Connection], T]) -> T:
        """See ``Database``."""
        if self.in_memory:
            return self._read(work)
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    async def write[T](self, work: Callable[[Connection], T]) -> T:
        """See ``Database``."""
        if self.in_memory:
            return self._write(work)
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._write, work)

    def insert(self, table: Table) -> sqlite.Insert:
        """See ``Database``."""
        return sqlite.insert(table)

    @property
    def sql_dialect(self) -> Dialect:
        """See ``Database``."""
        return sqlite.dialect()

    @property
    def sync_engine(self) -> Engine:
        """See ``Database``."""
        return self._engine

    def _read[T](self, work: Callable[[Connection], T]) -> T:
        with _translated(), self._reading.connect() as connection:
            return work(connection)

    def _write[T](self, work: Callable[[Connection], T]) -> T:
        with _translated(), self._engine.begin() as connection:
            return work(connection)


class PostgresDatabase(Database):
    """PostgreSQL through asyncpg; ``connect_args`` are asyncpg's."""

    dialect = "postgresql"

    def __init__(self, url: URL, connect_args: Mapping[str, Any] | None = None) -> None:
        """Nothing is opened."""
        self._url = url.set(drivername="postgresql+asyncpg")
        self._connect_args = dict(connect_args or {})

    async def open(self) -> None:
        """Make the engine, and reach the server once."""
        self._engine: AsyncEngine = create_async_engine(
            self._url,
            connect_args=self._connect_args,
            pool_size=8,
            max_overflow=0,
            # Errors go to the log; what callers said, and tokens of webhooks, do not.
            hide_parameters=True,
        )
        self._autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        await self.read(_ping)

    async def close(self) -> None:
        """Close the pool."""
        if hasattr(self, "_engine"):
            await self._engine.dispose()

    async def read[T](self, work: Callable[[Connection], T]) -> T:
        """See ``Database``; once more when the connection was lost, as after a restart."""
        try:
            return await self._read(work)
        except StateUnavailable:
            return await self._read(work)

    async def write[T](self, work: Callable[[Connection], T]) -> T:
        """See ``Database``."""
        with _translated():
            async with self._engine.begin() as connection:
                return await connection.run_sync(work)

    def insert(self, table: Table) -> postgresql.Insert:
        """See ``Database``."""
        return postgresql.insert(table)

    @property
    def sql_dialect(self) -> Dialect:
        """See ``Database``."""
        return asyncpg.dialect()  # type: ignore[no-untyped-call] # SQLAlchemy left it so

    @property
    def sync_engine(self) -> Engine:
        """See ``Database``."""
        return self._engine.sync_engine

    async def _read[T](self, work: Callable[[Connection], T]) -> T:
        with _translated():
            async with self._autocommit.connect() as connection:
                return await connection.run_sync(work)


def connect(url: URL, connect_args: Mapping[str, Any] | None = None) -> Database:
    """Return the database at ``url``; nothing is opened."""
    if url.get_backend_name() == "sqlite":
        return SqliteDatabase(url)
    return PostgresDatabase(url, connect_args)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout, OSError) as exc:
        raise StateUnavailable from exc
    except DBAPIError as exc:
        raise (StateUnavailable if _is_passing(exc) else StateError) from exc
    except (UnicodeEncodeError, OverflowError) as exc:
        # How sqlite3 refuses a value that does not fit.
        raise StateError from exc


def _is_passing(error: DBAPIError) -> bool:
    state = str(getattr(error.orig, "sqlstate", None))
    return error.connection_invalidated or state.startswith(_PASSING)


def _ping(connection: Connection) -> None:
    connection.exec_driver_sql("SELECT 1")


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own BEGIN comes too late for a writer: transactions are begun by hand.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    if READS not in connection.get_execution_options():
        # IMMEDIATE: two processes that both read first and then write would otherwise deadlock.
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _make(file: Path) -> None:
    """Make a database's file: what users say is not for everybody who has an account on the machine."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.touch(mode=0o600)
