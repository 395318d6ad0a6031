"""Which conversation a context maps to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from a2a_state.contexts import Context, Contexts
from a2a_state.tables import contexts
from tests.fakes.state import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from a2a_state.database import Database

pytestmark = pytest.mark.anyio

KEY = ("ann", "tenant", "context")
CONTEXT = Context(*KEY, stack="embedded", conversation_id="conversation", created_at=1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Return an open database with all tables."""
    async with open_database(database_url) as opened:
        yield opened


def changed(**fields: str) -> Context:
    """Return the context with other values."""
    return msgspec.structs.replace(CONTEXT, **fields)


def test_the_fields_are_the_columns() -> None:
    """Rows are read by position."""
    assert Context.__struct_fields__ == tuple(column.name for column in contexts.columns)


async def test_a_context_is_found_again(database: Database) -> None:
    assert await Contexts(database).add(CONTEXT) == CONTEXT

    assert await Contexts(database).get(*KEY) == CONTEXT


@pytest.mark.parametrize(
    "key",
    [
        ("bob", "tenant", "context"),
        ("ann", "", "context"),
        ("ann", "tenant", "other"),
        ("", "", ""),
    ],
)
async def test_another_owners_or_tenants_context_is_not_there(
    database: Database, key: tuple[str, str, str]
) -> None:
    await Contexts(database).add(CONTEXT)

    assert await Contexts(database).get(*key) is None


async def test_the_same_id_is_another_context_for_another_owner(database: Database) -> None:
    known = Contexts(database)
    others = [changed(owner="bob", conversation_id="b"), changed(tenant="x", conversation_id="x")]
    for context in (CONTEXT, *others):
        assert await known.add(context) == context

    assert [await known.get(c.owner, c.tenant, c.context_id) for c in others] == others
    assert await known.get(*KEY) == CONTEXT


async def test_who_comes_second_gets_the_conversation_of_the_first(database: Database) -> None:
    await Contexts(database).add(CONTEXT)

    standing = await Contexts(database).add(changed(conversation_id="second"))

    assert standing == CONTEXT
    assert await Contexts(database).get(*KEY) == CONTEXT


async def test_all_who_come_at_once_get_the_same_conversation(database: Database) -> None:
    rivals = [changed(conversation_id=f"conversation-{number}") for number in range(8)]

    standing = await asyncio.gather(*(Contexts(database).add(rival) for rival in rivals))

    assert set(standing) == {await Contexts(database).get(*KEY)}
    assert standing[0] in rivals


async def test_the_conversation_of_another_stack_is_replaced(database: Database) -> None:
    """It cannot be continued here; the context keeps its age."""
    await Contexts(database).add(CONTEXT)
    moved = changed(stack="responses", conversation_id="moved")

    standing = await Contexts(database).add(msgspec.structs.replace(moved, created_at=2))

    assert standing == moved
    assert await Contexts(database).get(*KEY) == moved


async def test_all_who_move_a_context_at_once_get_the_same_conversation(
    database: Database,
) -> None:
    await Contexts(database).add(CONTEXT)
    rivals = [changed(stack="responses", conversation_id=f"moved-{n}") for n in range(8)]

    standing = await asyncio.gather(*(Contexts(database).add(rival) for rival in rivals))

    assert set(standing) == {await Contexts(database).get(*KEY)}
    assert standing[0] in rivals


async def test_replacing_leaves_the_contexts_of_others_alone(database: Database) -> None:
    other = changed(owner="bob")
    for context in (CONTEXT, other, changed(stack="responses", conversation_id="moved")):
        await Contexts(database).add(context)

    assert await Contexts(database).get("bob", "tenant", "context") == other


async def test_a_context_moves_to_another_stack_and_is_not_made_for_that(
    database: Database,
) -> None:
    moved = changed(stack="other", conversation_id="of the other")
    assert await Contexts(database).move(moved) is None
    assert await Contexts(database).get(*KEY) is None

    await Contexts(database).add(CONTEXT)
    assert await Contexts(database).move(moved) == moved
    assert await Contexts(database).get(*KEY) == moved
