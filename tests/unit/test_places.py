"""Places for connections: whose turn it is to give way, and what is told of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.cli.places import Places
from agent.cli.seldom import TOLD_SECONDS

if TYPE_CHECKING:
    import pytest


class Connected:
    """A connection that notes that it had to go."""

    def __init__(self) -> None:
        self.is_gone = False

    def give_way(self) -> None:
        """Note it."""
        self.is_gone = True


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now


def test_who_was_idle_for_longest_gives_way_and_who_is_busy_never_does() -> None:
    places = Places(3)
    first, second, third, fourth, fifth = (Connected() for _ in range(5))
    for each in (first, second, third):
        assert places.take(each)
    places.begin(first)
    places.begin(second)
    places.end(second)

    assert places.take(fourth)
    assert places.take(fifth)

    assert [each.is_gone for each in (first, second, third, fourth, fifth)] == [
        False,
        True,
        True,
        False,
        False,
    ]


def test_who_had_to_go_gives_no_second_place_back() -> None:
    places = Places(1)
    first, second = Connected(), Connected()
    places.take(first)
    places.take(second)
    places.begin(second)

    for note in (places.begin, places.end, places.leave):
        note(first)

    assert not places.take(Connected())


def test_the_log_says_once_a_minute_that_there_are_no_places(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    places = Places(1, clock)
    connection = Connected()
    places.take(connection)
    places.begin(connection)

    for _ in range(100):
        assert not places.take(Connected())
    assert caplog.messages == ["All 1 connections are busy: new ones are refused"]

    clock.now += TOLD_SECONDS
    for _ in range(100):
        assert not places.take(Connected())
    assert len(caplog.messages) == 2
