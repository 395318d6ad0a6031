"""Places to run, and places to wait for them."""

from __future__ import annotations

import asyncio

import pytest

from agent.admission import Admission
from agent.errors import TooManyTasks
from agent.settings.own import Limits

pytestmark = pytest.mark.anyio


def admission(running: int, per_owner: int, seconds: float = 30) -> Admission:
    """Return places for so many."""
    return Admission(
        Limits(running_tasks=running, running_tasks_per_owner=per_owner, queue_seconds=seconds)
    )


async def queued(places: Admission, *owners: str) -> list[asyncio.Task[None]]:
    """Have owners wait for a place."""
    waiting = [asyncio.create_task(places.enter(owner)) for owner in owners]
    # Each takes its first step, which is to wait.
    await asyncio.sleep(0)
    assert not any(one.done() for one in waiting)
    return waiting


async def test_one_owner_does_not_fill_the_queue_of_all() -> None:
    places = admission(running=4, per_owner=2)
    for owner in ("ann", "ann", "bob", "cleo"):
        await places.enter(owner)
    ann, bob = await queued(places, "ann", "ann"), await queued(places, "bob")

    with pytest.raises(TooManyTasks) as refused:
        await places.enter("ann")

    assert refused.value.retry_after > 0
    places.leave("cleo")
    await asyncio.wait_for(bob[0], 5)
    assert not ann[0].done(), "she has as many as may run"
    places.leave("ann")
    await asyncio.wait_for(ann[0], 5)
    ann += await queued(places, "ann")
    places.leave("ann")
    places.leave("ann")
    await asyncio.wait_for(asyncio.gather(*ann), 5)


async def test_no_more_wait_than_may_run() -> None:
    places = admission(running=2, per_owner=2)
    for owner in ("ann", "bob"):
        await places.enter(owner)
    waiting = await queued(places, "ann", "bob")

    with pytest.raises(TooManyTasks):
        await places.enter("cleo")

    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    (cleo,) = await queued(places, "cleo")
    places.leave("ann")
    await asyncio.wait_for(cleo, 5)


async def test_who_waits_for_too_long_leaves_the_queue() -> None:
    places = admission(running=1, per_owner=1, seconds=0)
    await places.enter("ann")

    for _ in range(3):
        with pytest.raises(TooManyTasks):
            await places.enter("ann")

    places.leave("ann")
    await places.enter("bob")
