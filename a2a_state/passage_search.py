"""Full-text search over passages: FTS5 on SQLite, tsvector on PostgreSQL.

The statements are constants, whatever is asked: the terms go in as one JSON array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Connection, text

from a2a_state.passages import Passage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TOTAL = text("SELECT count(*) FROM passages WHERE source = :source")

# CROSS JOIN is an INNER JOIN that SQLite runs in this order: from the index to the table.
_COUNTS = {
    "sqlite": text("""
        SELECT (
            SELECT count(*) FROM passages_index
            CROSS JOIN passages ON passage_id = passages_index.rowid
            WHERE passages_index MATCH asked.value AND source = :source
        )
        FROM json_each(:queries) AS asked ORDER BY asked.key
        """),
    "postgresql": text("""
        SELECT (
            SELECT count(*) FROM passages
            WHERE terms @@ CAST(asked.query AS tsquery) AND source = :source
        )
        FROM json_array_elements_text(CAST(:queries AS json)) WITH ORDINALITY AS asked(query, n)
        ORDER BY asked.n
        """),
}

_BEST = {
    "sqlite": text("""
        SELECT path, position, title, section, anchor, text FROM passages_index
        CROSS JOIN passages ON passage_id = passages_index.rowid
        WHERE passages_index MATCH :every AND source = :source
        ORDER BY bm25(passages_index), path, position LIMIT :limit
        """),
    # ts_rank does not know how rare a word is: passages with the rare ones come first.
    "postgresql": text("""
        SELECT path, position, title, section, anchor, text FROM passages
        WHERE terms @@ CAST(:every AS tsquery) AND source = :source
        ORDER BY (
            SELECT sum(CAST(asked.query ->> 1 AS float))
            FROM json_array_elements(CAST(:weights AS json)) AS asked(query)
            WHERE terms @@ CAST(asked.query ->> 0 AS tsquery)
        ) DESC, ts_rank(terms, CAST(:every AS tsquery)) DESC, path, position LIMIT :limit
        """),
}


class Word(msgspec.Struct, frozen=True):
    """A word asked for; ``prefix``, unless empty, stands in where no passage has the ``stem``."""

    stem: str
    prefix: str = ""


class Found(msgspec.Struct, frozen=True):
    """Passages with at least one of the words, the best first, and how common each word is.

    ``total`` counts all passages, ``counts`` those with a stem (or with what stands in for it).
    """

    total: int
    counts: dict[str, int]
    passages: tuple[Passage, ...]


def search(connection: Connection, source: str, asked: Sequence[Word], limit: int) -> Found:
    """Find passages with at least one of the words: the rare ones count more."""
    dialect = connection.dialect.name
    total: int = connection.execute(_TOTAL, {"source": source}).scalar_one()
    queries = {word.stem: _quoted(dialect, word.stem) for word in asked}
    counts = _count(connection, source, queries)
    unknown = [word for word in asked if not counts[word.stem] and word.prefix]
    if unknown:
        prefixes = {word.stem: _quoted(dialect, word.prefix, prefix=True) for word in unknown}
        counts |= _count(connection, source, prefixes)
        queries |= prefixes
    found = {query: counts[stem] for stem, query in queries.items() if counts[stem]}
    return Found(total, counts, _best(connection, source, found, limit) if found else ())


def _count(connection: Connection, source: str, queries: Mapping[str, str]) -> dict[str, int]:
    """Count the passages that each query finds."""
    values = {"queries": _json(list(queries.values())), "source": source}
    numbers = connection.execute(_COUNTS[connection.dialect.name], values).scalars()
    return dict(zip(queries, numbers, strict=True))


def _best(
    connection: Connection, source: str, found: Mapping[str, int], limit: int
) -> tuple[Passage, ...]:
    dialect = connection.dialect.name
    values = {"source": source, "limit": limit}
    if dialect == "sqlite":
        values |= {"every": " OR ".join(found)}
    else:
        weights = [(query, 1 / (1 + count)) for query, count in found.items()]
        values |= {"every": " | ".join(found), "weights": _json(weights)}
    return tuple(Passage(*row) for row in connection.execute(_BEST[dialect], values))


def _quoted(dialect: str, term: str, *, prefix: bool = False) -> str:
    """Write one term as a query; letters and digits only, so nothing needs an escape."""
    if dialect == "sqlite":
        return f'"{term}"*' if prefix else f'"{term}"'
    return f"'{term}':*" if prefix else f"'{term}'"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
