"""Benchmarks, as Llama Stack's eval API has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    LargeBinary,
    String,
    Table,
    delete,
    func,
    select,
)

from a2a_state.tables import metadata
from agent.errors import QuotaExceeded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement

    from a2a_state.database import Database

type Json = Any

benchmarks = Table(
    "benchmarks",
    metadata,
    Column("owner", String, primary_key=True),
    Column("tenant", String, primary_key=True),
    Column("benchmark_id", String, primary_key=True),
    Column("dataset_id", String, nullable=False),
    # JSON: a list of names
    Column("scoring_functions", LargeBinary, nullable=False),
    # JSON
    Column("metadata", LargeBinary, nullable=False),
    Column("provider_id", String, nullable=False),
    Column("provider_resource_id", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_benchmarks_created", "owner", "tenant", "created_at"),
)


class Benchmark(msgspec.Struct, frozen=True, kw_only=True):
    """One benchmark: see the table for what the columns mean."""

    owner: str
    tenant: str
    benchmark_id: str
    dataset_id: str
    scoring_functions: tuple[str, ...]
    metadata: dict[str, Json] = {}
    provider_id: str
    provider_resource_id: str
    created_at: int


class Benchmarks:
    """The benchmarks of all owners; whoever asks for an owner's names owner and tenant."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database

    async def add(self, benchmark: Benchmark, most: int) -> bool:
        """Add a benchmark; False when its id is taken.

        Raises ``QuotaExceeded`` when the owner has ``most``.
        """
        values = msgspec.structs.asdict(benchmark)
        values |= {name: msgspec.json.encode(values[name]) for name in _JSON}
        added = self._database.insert(benchmarks).values(values).on_conflict_do_nothing()
        count = select(func.count()).where(_of(benchmark.owner, benchmark.tenant))

        def work(connection: Connection) -> bool:
            is_new = bool(connection.execute(added).rowcount)
            if is_new and connection.execute(count).scalar_one() > most:
                cause = f"You have {most} benchmarks, and may have no more: unregister one first."
                raise QuotaExceeded(cause, "Too many benchmarks")
            return is_new

        return await self._database.write(work)

    async def get(self, owner: str, tenant: str, benchmark_id: str) -> Benchmark | None:
        """Return the owner's benchmark, if it is there."""
        query = select(benchmarks).where(
            _of(owner, tenant), benchmarks.c.benchmark_id == benchmark_id
        )
        found = await self._database.read(lambda c: _all(c, query))
        return found[0] if found else None

    async def list(self, owner: str, tenant: str) -> Sequence[Benchmark]:
        """Return the owner's benchmarks, the oldest first."""
        query = (
            select(benchmarks)
            .where(_of(owner, tenant))
            .order_by(benchmarks.c.created_at, benchmarks.c.benchmark_id)
        )
        return await self._database.read(lambda c: _all(c, query))

    async def delete(self, owner: str, tenant: str, benchmark_id: str) -> None:
        """Remove a benchmark, if it is there."""
        gone = delete(benchmarks).where(
            _of(owner, tenant), benchmarks.c.benchmark_id == benchmark_id
        )
        await self._database.write(lambda c: c.execute(gone))


_JSON = ("scoring_functions", "metadata")


def _of(owner: str, tenant: str) -> ColumnElement[bool]:
    return (benchmarks.c.owner == owner) & (benchmarks.c.tenant == tenant)


def _all(connection: Connection, query: Any) -> Sequence[Benchmark]:
    return [_benchmark(row) for row in connection.execute(query).mappings()]


def _benchmark(row: Mapping[Any, Any]) -> Benchmark:
    values = dict(row) | {name: msgspec.json.decode(row[name]) for name in _JSON}
    return Benchmark(**values | {"scoring_functions": tuple(values["scoring_functions"])})
