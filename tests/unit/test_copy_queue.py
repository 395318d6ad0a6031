"""What waits to be copied: whose turn it is, and who waits for that."""

from __future__ import annotations

import asyncio

import pytest

from a2a_state.copy_source import TaskKey
from a2a_state.histories import ContextKey
from agent.copy_queue import CopyQueue

pytestmark = pytest.mark.anyio


def key(owner: str, task_id: str) -> TaskKey:
    """Return a task of somebody's."""
    return TaskKey(ContextKey(owner, "", "context"), task_id)


def queue(*keys: TaskKey) -> CopyQueue:
    """Return a queue of tasks."""
    waiting = CopyQueue()
    for each in keys:
        waiting.add(each)
    return waiting


async def test_owners_take_turns() -> None:
    waiting = queue(*(key("mallory", str(number)) for number in range(5)), key("ann", "a"))
    waiting.add(key("bob", "b"))
    first = waiting.take(4)
    assert [each.task_id for each in first] == ["0", "a", "b", "1"]
    waiting.add(key("ann", "c"))
    assert [each.task_id for each in waiting.take(9)] == ["2", "c", "3", "4"]
    assert waiting.take(9) == []


async def test_a_task_that_waits_waits_once() -> None:
    waiting = queue(key("ann", "a"), key("ann", "a"))
    assert len(waiting) == 1
    taken = waiting.take(9)
    assert len(taken) == 1
    # What is copied now may have changed since it was read.
    waiting.add(key("ann", "a"))
    assert len(waiting) == 2
    waiting.done(taken)
    assert waiting.take(9) == [key("ann", "a")]


async def test_who_waits_for_their_own_waits_until_that_is_done() -> None:
    waiting = queue(key("ann", "a"), key("bob", "b"))
    assert await waiting.empty_for("cid", 0)
    assert not await waiting.empty_for("ann", 0)
    async with asyncio.timeout(5):
        ann = asyncio.create_task(waiting.empty_for("ann", 30))
        await asyncio.sleep(0)
        taken = waiting.take(1)
        # What comes later is not waited for.
        waiting.add(key("ann", "later"))
        assert not ann.done()
        waiting.done(taken)
        assert await ann
    assert not await waiting.empty_for("bob", 0)
    assert len(waiting) == 2
