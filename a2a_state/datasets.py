"""Datasets and their rows, as Llama Stack's datasets and datasetio APIs have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    Row,
    String,
    Table,
    bindparam,
    func,
    select,
    tuple_,
)

from a2a_state.dataset_chunks import CHUNK_BYTES, Chunk, pack
from a2a_state.tables import metadata
from agent.errors import PayloadTooLarge, QuotaExceeded, StateUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from a2a_state.database import Database
    from a2a_state.dataset_chunks import Bounds

datasets = Table(
    "datasets",
    metadata,
    Column("owner", String, primary_key=True),
    Column("tenant", String, primary_key=True),
    Column("dataset_id", String, primary_key=True),
    Column("purpose", String, nullable=False),
    # JSON: where the rows came from, without the rows themselves.
    Column("source", LargeBinary, nullable=False),
    # JSON
    Column("metadata", LargeBinary, nullable=False),
    # Of what was registered: the same again is no error, anything else is.
    Column("digest", LargeBinary, nullable=False),
    # Told apart from another of the same id that was registered after this one was deleted.
    Column("generation", String, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_datasets_created", "owner", "tenant", "created_at"),
)

dataset_rows = Table(
    "dataset_rows",
    metadata,
    Column("owner", String, primary_key=True),
    Column("tenant", String, primary_key=True),
    Column("dataset_id", String, primary_key=True),
    # The row of the table holds the rows first_row .. last_row of the dataset as one JSON array.
    Column("first_row", BigInteger, primary_key=True),
    Column("last_row", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    ForeignKeyConstraint(
        ["owner", "tenant", "dataset_id"],
        ["datasets.owner", "datasets.tenant", "datasets.dataset_id"],
        name="fk_dataset_rows_dataset",
        ondelete="CASCADE",
    ),
)


# What `rows` is while a dataset is being built: nobody sees it yet.
BUILDING = -1

type Json = Any


class Dataset(msgspec.Struct, frozen=True):
    """A dataset. Times are milliseconds since the epoch.

    ``source`` is Llama Stack's, but of rows it tells how many were registered. ``generation`` is of this
    dataset alone, and not of another that has its id later.
    """

    owner: str
    tenant: str
    dataset_id: str
    purpose: str
    source: Json
    metadata: Json
    digest: bytes
    generation: str
    rows: int
    created_at: int


_OF_OWNER = (datasets.c.owner == bindparam("b_owner")) & (
    datasets.c.tenant == bindparam("b_tenant")
)
_ONE = _OF_OWNER & (datasets.c.dataset_id == bindparam("b_id"))
_THIS = _ONE & (datasets.c.generation == bindparam("b_generation"))
_DONE = datasets.c.rows > BUILDING
_GET = select(datasets).where(_ONE, _DONE)
# Two callers that change one dataset wait for each other.
_LOCK = select(datasets).where(_ONE).with_for_update()
_COUNT = select(func.count()).select_from(datasets).where(_OF_OWNER)
_FINISH = datasets.update().where(_THIS, ~_DONE).values(rows=bindparam("b_rows"))
_GROW = datasets.update().where(_THIS).values(rows=bindparam("b_rows"))
_REMOVE = datasets.delete().where(_ONE)
_ABANDON = datasets.delete().where(_THIS)
_ABANDONED = ~_DONE & (datasets.c.created_at < bindparam("b_before"))
_SWEEP = datasets.delete().where(_ABANDONED)
_SWEEP_OWNER = datasets.delete().where(_OF_OWNER, _ABANDONED)
_JOINED = (
    (dataset_rows.c.owner == datasets.c.owner)
    & (dataset_rows.c.tenant == datasets.c.tenant)
    & (dataset_rows.c.dataset_id == datasets.c.dataset_id)
)
_CHUNK = (
    select(dataset_rows.c.first_row, dataset_rows.c.last_row, dataset_rows.c.body)
    .select_from(datasets)
    .join(dataset_rows, _JOINED)
    .where(_THIS, dataset_rows.c.first_row <= bindparam("b_row"))
    .order_by(dataset_rows.c.first_row.desc())
    .limit(1)
)
_BYTES = (
    select(func.coalesce(func.sum(func.length(dataset_rows.c.body)), 0))
    .select_from(datasets)
    .join(dataset_rows, _JOINED)
    .where(_THIS)
)
_DROP_CHUNK = dataset_rows.delete().where(
    dataset_rows.c.owner == bindparam("b_owner"),
    dataset_rows.c.tenant == bindparam("b_tenant"),
    dataset_rows.c.dataset_id == bindparam("b_id"),
    dataset_rows.c.first_row == bindparam("b_row"),
)


class DatasetStore:
    """The datasets of all owners; what is another owner's, or still being built, is not found."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database

    async def add(
        self, dataset: Dataset, chunks: Sequence[Chunk], most: int, before: int
    ) -> Dataset:
        """Store a new dataset with its first rows; returns it, or the one that has its id already.

        That one may still be ``BUILDING``, but not since ``before``. Raises ``QuotaExceeded`` when the owner
        has ``most``.
        """

        def work(connection: Connection) -> Dataset:
            values = msgspec.structs.asdict(dataset) | {
                "source": msgspec.json.encode(dataset.source),
                "metadata": msgspec.json.encode(dataset.metadata),
            }
            owner = {"b_owner": dataset.owner, "b_tenant": dataset.tenant}
            connection.execute(_SWEEP_OWNER, owner | {"b_before": before})
            added = self._database.insert(datasets).values(values).on_conflict_do_nothing()
            if connection.execute(added).rowcount == 0:
                row = connection.execute(_LOCK, _key(dataset)).first()
                if row is None:
                    # Deleted in between.
                    raise StateUnavailable
                return _dataset(row)
            if connection.execute(_COUNT, owner).scalar_one() > most:
                cause = f"You have {most} datasets, and may have no more: unregister one first."
                raise QuotaExceeded(cause, "Too many datasets")
            _insert(connection, dataset, chunks)
            return dataset

        return await self._database.write(work)

    async def build(self, dataset: Dataset, chunks: Sequence[Chunk]) -> bool:
        """Store more rows of a dataset that is being built; returns whether it still is there."""

        def work(connection: Connection) -> bool:
            row = connection.execute(_LOCK, _key(dataset)).first()
            if row is None or row.generation != dataset.generation:
                return False
            _insert(connection, dataset, chunks)
            return True

        return await self._database.write(work)

    async def finish(self, dataset: Dataset, rows: int) -> bool:
        """Let a dataset be seen, with all its rows; returns whether it still is there."""
        values = _key(dataset) | {"b_rows": rows}
        return await self._database.write(lambda c: c.execute(_FINISH, values).rowcount) > 0

    async def abandon(self, dataset: Dataset) -> None:
        """Delete this dataset, whatever else has its id now."""
        await self._database.write(lambda c: c.execute(_ABANDON, _key(dataset)))

    async def sweep(self, before: int) -> None:
        """Delete what has been building since ``before``: nobody does any more."""
        await self._database.write(lambda c: c.execute(_SWEEP, {"b_before": before}))

    async def remove(self, owner: str, tenant: str, dataset_id: str) -> None:
        """Delete a dataset with its rows, also while it is being built; it need not be there."""
        key = {"b_owner": owner, "b_tenant": tenant, "b_id": dataset_id}
        await self._database.write(lambda c: c.execute(_REMOVE, key))

    async def get(self, owner: str, tenant: str, dataset_id: str) -> Dataset | None:
        """Return the owner's dataset, or None."""
        key = {"b_owner": owner, "b_tenant": tenant, "b_id": dataset_id}
        row = await self._database.read(lambda c: c.execute(_GET, key).first())
        return None if row is None else _dataset(row)

    async def list(
        self, owner: str, tenant: str, after: Dataset | None, limit: int
    ) -> Sequence[Dataset]:
        """Return up to ``limit`` datasets of the owner, the oldest first, those that follow ``after``."""
        query = select(datasets).where(
            datasets.c.owner == owner, datasets.c.tenant == tenant, _DONE
        )
        if after is not None:
            place = tuple_(datasets.c.created_at, datasets.c.dataset_id)
            query = query.where(place > tuple_(after.created_at, after.dataset_id))
        query = query.order_by(datasets.c.created_at, datasets.c.dataset_id).limit(limit)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [_dataset(row) for row in rows]

    async def chunk(self, dataset: Dataset, row: int) -> Chunk | None:
        """Return the chunk that holds a row of this dataset, or None when the dataset is gone."""
        values = _key(dataset) | {"b_row": row}
        found = await self._database.read(lambda c: c.execute(_CHUNK, values).first())
        return None if found is None else Chunk(*found)

    async def append(
        self, owner: str, tenant: str, dataset_id: str, rows: Sequence[bytes], bounds: Bounds
    ) -> bool:
        """Store rows after the last one, all or none; returns whether there is such a dataset.

        Raises ``PayloadTooLarge`` when they are more than a dataset may hold.
        """
        key = {"b_owner": owner, "b_tenant": tenant, "b_id": dataset_id}

        def work(connection: Connection) -> bool:
            found = connection.execute(_LOCK, key).first()
            if found is None or found.rows == BUILDING:
                return False
            dataset = _dataset(found)
            _check(connection, dataset, rows, bounds)
            _insert(connection, dataset, _continued(connection, dataset, rows))
            total = dataset.rows + len(rows)
            connection.execute(_GROW, _key(dataset) | {"b_rows": total})
            return True

        return await self._database.write(work)


def _check(connection: Connection, dataset: Dataset, rows: Sequence[bytes], bounds: Bounds) -> None:
    if dataset.rows + len(rows) > bounds.rows:
        raise PayloadTooLarge(f"A dataset has at most {bounds.rows} rows")
    held = int(connection.execute(_BYTES, _key(dataset)).scalar_one())
    if held + sum(map(len, rows)) > bounds.bytes:
        raise PayloadTooLarge(f"The rows of a dataset have at most {bounds.bytes} bytes of JSON")


def _continued(connection: Connection, dataset: Dataset, rows: Sequence[bytes]) -> list[Chunk]:
    """Return the new chunks; the last one goes on, so that rows appended one by one do not stand alone."""
    last = connection.execute(_CHUNK, _key(dataset) | {"b_row": dataset.rows}).first()
    if last is None or len(last.body) > CHUNK_BYTES // 2:
        return list(pack(dataset.rows, rows))
    connection.execute(_DROP_CHUNK, _key(dataset) | {"b_row": last.first_row})
    before = msgspec.json.decode(last.body, type=list[msgspec.Raw])
    return list(pack(last.first_row, [*map(bytes, before), *rows]))


def _insert(connection: Connection, dataset: Dataset, chunks: Sequence[Chunk]) -> None:
    key = {"owner": dataset.owner, "tenant": dataset.tenant, "dataset_id": dataset.dataset_id}
    if chunks:
        connection.execute(
            dataset_rows.insert(), [key | msgspec.structs.asdict(chunk) for chunk in chunks]
        )


def _key(dataset: Dataset) -> dict[str, Any]:
    return {
        "b_owner": dataset.owner,
        "b_tenant": dataset.tenant,
        "b_id": dataset.dataset_id,
        "b_generation": dataset.generation,
    }


def _dataset(row: Row[Any]) -> Dataset:
    values = row._asdict()
    decoded = {name: msgspec.json.decode(values[name]) for name in ("source", "metadata")}
    return Dataset(**values | decoded)
