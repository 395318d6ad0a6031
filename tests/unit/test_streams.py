"""Places for streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agent.dialects.v1_0 import Dialect1
from agent.errors import StreamEnded, TaskNotFound, TooManyStreams
from agent.streams import Placed, Streams

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from agent.dialects import Encoder
    from agent.following import Followed, Numbered

pytestmark = pytest.mark.anyio


class Told:
    """Follows something that says one thing, and then breaks if it is told to."""

    def __init__(self, *, breaks: bool = False) -> None:
        self._breaks = breaks

    async def follow(
        self, encoder: Encoder[Any], idle: float
    ) -> AsyncGenerator[list[Numbered[Any]]]:
        """Tell it."""
        yield [(1, f"{encoder.version} {idle}".encode())]
        if self._breaks:
            raise StreamEnded


def test_an_owner_has_so_many_places_and_no_more() -> None:
    streams = Streams(2)
    kept = [streams.enter("ann"), streams.enter("ann")]

    with pytest.raises(TooManyStreams) as refused:
        streams.enter("ann")

    assert refused.value.retry_after == 5
    kept.append(streams.enter("bob"))
    kept[0].leave()
    streams.enter("ann").leave()


def test_a_place_is_left_once() -> None:
    streams = Streams(2)
    first, _second = streams.enter("ann"), streams.enter("ann")

    first.leave()
    first.leave()
    _third = streams.enter("ann")

    with pytest.raises(TooManyStreams):
        streams.enter("ann")


def test_a_place_of_a_stream_that_never_begins_is_free_again() -> None:
    streams = Streams(1)
    placed = Placed(Told(), streams.enter("ann"))
    del placed

    streams.enter("ann").leave()


@pytest.mark.parametrize("breaks", [False, True])
async def test_a_stream_gives_its_place_back_however_it_ends(breaks: bool) -> None:
    streams = Streams(1)
    placed = Placed(Told(breaks=breaks), streams.enter("ann"))
    heard = []

    try:
        async for events in placed.follow(Dialect1(), 0.5):
            heard += events
            with pytest.raises(TooManyStreams):
                streams.enter("ann")
    except StreamEnded:
        assert breaks

    assert heard == [(1, b"1.0 0.5")]
    streams.enter("ann").leave()


async def test_a_stream_that_is_closed_early_gives_its_place_back() -> None:
    streams = Streams(1)
    news = Placed(Told(), streams.enter("ann")).follow(Dialect1(), 0.5)
    await anext(news)

    await news.aclose()

    streams.enter("ann").leave()


async def broken() -> Followed:
    """Do not start."""
    raise TaskNotFound


async def test_a_stream_that_does_not_start_keeps_no_place() -> None:
    """Also one whose exception hangs on to it."""
    streams = Streams(1)
    kept = []

    for _ in range(3):
        with pytest.raises(TaskNotFound) as refused:
            await streams.placed("ann", broken())
        kept.append(refused.value)

    streams.enter("ann").leave()


async def test_a_stream_without_a_place_does_not_start() -> None:
    streams = Streams(1)
    with streams.enter("ann"), pytest.raises(TooManyStreams):
        await streams.placed("ann", broken())

    streams.enter("ann").leave()
