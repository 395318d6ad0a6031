"""Finding and listing conversations: by whom, in which order, how many, and what is read for it."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from sqlalchemy import Connection, insert, text

from a2a_state.histories import (
    _ANYBODYS,
    _OF_KEY,
    _OF_PUBLIC_ID,
    MOST,
    ContextKey,
    ConversationSearch,
    _list,
)
from a2a_state.tables import contexts, tasks
from agent.public_ids import name_of, named
from tests.fakes.state import open_database, task_row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from a2a_state.database import Database

pytestmark = pytest.mark.anyio

KEY = ContextKey("ann", "", "context")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Return an open database with all tables."""
    async with open_database(database_url) as opened:
        yield opened


async def add_contexts(database: Database, *rows: dict[str, Any]) -> None:
    """Add contexts; what is not said of one is ann's."""
    usual = {
        "owner": "ann",
        "tenant": "",
        "context_id": "context",
        "stack": "s",
        "conversation_id": "c",
        "created_at": 1,
        "used_at": None,
        "public_id": None,
        "topic_summary": None,
    }
    values = [usual | row for row in rows]
    await database.write(lambda c: c.execute(insert(contexts), values))


async def add_tasks(database: Database, *rows: dict[str, Any]) -> None:
    """Add tasks that have ended; what is not said of one is ann's."""
    values = []
    for number, row in enumerate(rows):
        known = {"ended_at": 1, "task_id": f"task-{number}", **row}
        struct = msgspec.structs.asdict(task_row(**known))
        del struct["is_new"]
        values.append(struct)
    await database.write(lambda c: c.execute(insert(tasks), values))


async def test_tasks_that_run_and_that_have_ended_count_together(database: Database) -> None:
    await add_contexts(database, {})
    await add_tasks(
        database,
        {"updated_at": 5, "messages": 2, "model": "p/five"},
        {"updated_at": 1_000, "messages": None, "model": "p/thousand"},
        {"updated_at": 999, "messages": 3, "model": "p/zzz", "ended_at": None},
        {"updated_at": 2_000, "messages": 1, "model": None},
        {"updated_at": 9_000, "owner": "bob", "model": "p/his"},
        {"updated_at": 9_000, "tenant": "blue", "model": "p/blue"},
        {"updated_at": 9_000, "context_id": "other", "model": "p/other"},
    )
    (found,) = await ConversationSearch(database).latest("ann", "")
    assert (found.last_message_at, found.messages) == (2_000, 7)
    assert found.model == "p/thousand"


async def test_a_context_in_which_nothing_ever_was_is_no_conversation(database: Database) -> None:
    await add_contexts(
        database,
        {"context_id": "empty"},
        {"context_id": "named", "topic_summary": "Clusters", "created_at": 2},
        {"context_id": "used", "used_at": 3},
    )
    found = await ConversationSearch(database).latest("ann", "")
    assert [(one.context_id, one.last_message_at, one.messages) for one in found] == [
        ("used", 3, 0),
        ("named", 2, 0),
    ]


async def test_everybodys_conversations_are_those_of_one_tenant(database: Database) -> None:
    await add_contexts(
        database,
        {"used_at": 1},
        {"used_at": 2, "owner": "bob"},
        {"used_at": 3, "owner": "bob", "tenant": "blue"},
    )
    search = ConversationSearch(database)
    assert [one.owner for one in await search.latest(None, "")] == ["bob", "ann"]
    assert [one.owner for one in await search.latest(None, "blue")] == ["bob"]


async def test_a_list_holds_the_latest_of_very_many() -> None:
    async with open_database("sqlite://") as database:
        rows = [{"context_id": f"c{number}", "used_at": number} for number in range(MOST + 5)]
        await add_contexts(database, *rows)
        found = await ConversationSearch(database).latest("ann", "")
        assert len(found) == MOST
        assert found[0].context_id == f"c{MOST + 4}"
        assert found[-1].context_id == "c5"


async def test_a_list_reads_of_what_has_ended_an_index_and_no_task() -> None:
    async with open_database("sqlite://") as database:
        for owner in ("ann", None):
            statement = _list(owner, "").compile(
                dialect=database.sql_dialect, compile_kwargs={"literal_binds": True}
            )
            explain = text(f"EXPLAIN QUERY PLAN {statement}")
            plan = await database.read(partial(Connection.execute, statement=explain))
            of_tasks = [row[3] for row in plan if " tasks " in f"{row[3]} "]
            assert len(of_tasks) == 2
            assert sum("COVERING INDEX ix_tasks_ended" in step for step in of_tasks) == 1


async def test_a_name_that_was_given_first_stays(database: Database) -> None:
    await add_contexts(database, {})
    search = ConversationSearch(database)
    await search.name({KEY: "a" * 48})
    await search.name({KEY: "b" * 48})
    context = await named(search, KEY)
    assert context is not None
    assert name_of(context) == "a" * 48
    assert await search.find("ann", "", "a" * 48) == context
    assert await search.find("bob", "", "a" * 48) is None
    assert await search.find("ann", "blue", "a" * 48) is None
    assert await named(search, KEY._replace(owner="bob")) is None


async def test_of_several_who_have_an_id_the_first_is_anybodys(database: Database) -> None:
    shared = "c" * 48
    await add_contexts(
        database,
        {"owner": "ann", "context_id": shared, "created_at": 2},
        {"owner": "bob", "context_id": "x", "public_id": shared, "created_at": 1},
        {"owner": "cid", "tenant": "blue", "context_id": shared, "created_at": 0},
    )
    search = ConversationSearch(database)
    found = await search.find_anybodys("", shared)
    assert found is not None
    assert found.owner == "bob"
    assert await search.find_anybodys("", "d" * 48) is None


async def test_a_conversation_is_found_by_an_index_whoever_asks() -> None:
    async with open_database("sqlite://") as database:
        bound = {"owner": "'ann'", "tenant": "''", "conversation_id": "'c'"}
        for statement in (*_ANYBODYS, _OF_PUBLIC_ID, _OF_KEY):
            written = str(statement.compile(dialect=database.sql_dialect))
            for parameter in statement.compile(dialect=database.sql_dialect).positiontup or ():
                written = written.replace("?", bound.get(parameter, "1"), 1)
            plan = await database.read(
                partial(Connection.execute, statement=text(f"EXPLAIN QUERY PLAN {written}"))
            )
            (step,) = [row[3] for row in plan if "contexts" in row[3]]
            assert step.startswith("SEARCH contexts USING ")
            assert "tenant=?" in step
            assert step.count("=?") > 1


async def test_contexts_of_an_older_version_are_conversations_too(tmp_path: Any) -> None:
    """They have no public id, and their tasks no count of messages and no model."""
    path = tmp_path / "state.db"
    async with open_database(f"sqlite:///{path}") as database:
        await add_contexts(database, {})
        await add_tasks(database, {"updated_at": 7})
    with sqlite3.connect(path) as older:
        older.execute("UPDATE tasks SET messages = NULL, model = NULL")
    async with open_database(f"sqlite:///{path}") as database:
        (found,) = await ConversationSearch(database).latest("ann", "")
        assert (found.messages, found.model, found.public_id) == (1, None, None)
