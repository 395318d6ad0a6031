"""The searchable passages of documents: what the embedded stack answers from.

The documents are the operator's and the same for every caller, so these rows have no owner. A
passage is found by its ``terms``: stems made by the caller, letters and digits only, separated by
single spaces.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Table,
    Text,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import TSVECTOR

from a2a_state.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

documents = Table(
    "documents",
    metadata,
    # Which folder: several agents may share a database.
    Column("source", String, primary_key=True),
    # Relative to the folder, with forward slashes.
    Column("path", String, primary_key=True),
    # Of the content and of the way it was cut up.
    Column("digest", String, nullable=False),
    Column("title", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("indexed_at", BigInteger, nullable=False),
)

passages = Table(
    "passages",
    metadata,
    Column("passage_id", Integer, primary_key=True, autoincrement=True),
    Column("source", String, nullable=False),
    Column("path", String, nullable=False),
    Column("position", Integer, nullable=False),
    Column("title", String, nullable=False),
    Column("section", String, nullable=False),
    Column("anchor", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("terms", Text().with_variant(TSVECTOR(), "postgresql"), nullable=False),
    ForeignKeyConstraint(
        ["source", "path"], ["documents.source", "documents.path"], ondelete="CASCADE"
    ),
    Index("ix_passages_document", "source", "path"),
)
# The full-text index beside it, which SQLAlchemy cannot say, is made by the migrations.


class Passage(msgspec.Struct, frozen=True):
    """A piece of a document. ``section`` is empty before the first heading below the title."""

    path: str
    position: int
    title: str
    section: str
    anchor: str
    text: str


class Document(msgspec.Struct, frozen=True):
    """A document to be indexed: every passage with its terms."""

    path: str
    digest: str
    title: str
    size: int
    passages: tuple[tuple[Passage, str], ...]


class StoreSize(msgspec.Struct, frozen=True):
    """How much is indexed of a folder. ``indexed_at`` is 0 when nothing is."""

    documents: int
    bytes: int
    indexed_at: int


def digests(connection: Connection, source: str) -> dict[str, str]:
    """Return the digest of every indexed document by its path."""
    rows = connection.execute(
        select(documents.c.path, documents.c.digest).where(documents.c.source == source)
    )
    return {row.path: row.digest for row in rows}


def titles(connection: Connection, source: str, limit: int) -> list[str]:
    """Return the titles of the first documents, by path."""
    query = (
        select(documents.c.title)
        .where(documents.c.source == source)
        .order_by(documents.c.path)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def size(connection: Connection, source: str) -> StoreSize:
    """Tell how much is indexed."""
    query = select(
        func.count(),
        func.coalesce(func.sum(documents.c.size), 0),
        func.coalesce(func.max(documents.c.indexed_at), 0),
    ).where(documents.c.source == source)
    row = connection.execute(query).one()
    return StoreSize(row[0], int(row[1]), row[2])


def replace(connection: Connection, source: str, batch: Sequence[Document], now: int) -> None:
    """Index documents anew, but leave what another process has just done; part of a transaction."""
    _wait_for_others(connection, source)
    known = digests(connection, source)
    changed = [document for document in batch if known.get(document.path) != document.digest]
    _delete(connection, source, [document.path for document in changed])
    if not changed:
        return
    connection.execute(
        documents.insert(),
        [
            {
                "source": source,
                "path": document.path,
                "digest": document.digest,
                "title": document.title,
                "size": document.size,
                "indexed_at": now,
            }
            for document in changed
        ],
    )
    rows = [
        {"source": source, "terms": terms, **msgspec.structs.asdict(passage)}
        for document in changed
        for passage, terms in document.passages
    ]
    if rows:
        connection.execute(passages.insert(), rows)


def remove(connection: Connection, source: str, paths: Sequence[str]) -> None:
    """Forget documents; part of a transaction."""
    _wait_for_others(connection, source)
    _delete(connection, source, paths)


def _wait_for_others(connection: Connection, source: str) -> None:
    """Let one process at a time index a folder; SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        key = int.from_bytes(hashlib.sha256(source.encode()).digest()[:8], signed=True)
        connection.execute(select(func.pg_advisory_xact_lock(key)))


def _delete(connection: Connection, source: str, paths: Sequence[str]) -> None:
    # Passages first, by hand: SQLite fires no triggers for rows that a foreign key takes along
    # unless recursive triggers are on.
    for rows in (passages, documents):
        connection.execute(rows.delete().where(rows.c.source == source, rows.c.path.in_(paths)))
