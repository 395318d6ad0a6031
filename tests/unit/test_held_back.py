"""Lines that are alike: one a second, a count of the others, and none is forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agent.held_back import SECONDS, HeldBack

if TYPE_CHECKING:
    from collections.abc import Iterable

KEPT = 3


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return what the test set."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture
def held(clock: Clock) -> HeldBack:
    """Return what keeps three kinds in mind."""
    return HeldBack(clock, KEPT)


def add(held: HeldBack, kind: str, *numbers: int) -> list[Any]:
    """Add lines of a kind; returns what is told."""
    return [told for number in numbers for told in held.add(kind, {kind: number})]


def count(lines: Iterable[dict[str, Any]]) -> int:
    """Return how many lines these stand for."""
    return sum(1 + line.get("repeated", 0) for line in lines)


def test_the_first_is_told_and_others_within_a_second_are_not(held: HeldBack, clock: Clock) -> None:
    """The next one that is told says how many there were."""
    assert add(held, "a", 1) == [{"a": 1}]
    clock.now += SECONDS - 0.1
    assert add(held, "a", 2, 3) == []
    clock.now += 0.1
    assert add(held, "a", 4, 5) == [{"a": 4, "repeated": 2}]


def test_kinds_do_not_hide_each_other(held: HeldBack) -> None:
    assert add(held, "a", 1, 2) + add(held, "b", 1, 2) == [{"a": 1}, {"b": 1}]


def test_what_was_held_back_is_told_by_and_by(held: HeldBack, clock: Clock) -> None:
    """By the last of it, no sooner than a second after the one before, and only once."""
    add(held, "a", 1, 2, 3, 4)
    add(held, "b", 1)
    assert list(held.due()) == []
    clock.now += SECONDS
    assert list(held.due()) == [{"a": 4, "repeated": 2}]
    assert add(held, "a", 5) == []
    clock.now += SECONDS
    assert list(held.due()) == [{"a": 5}]
    clock.now += SECONDS
    assert list(held.due()) == []
    assert add(held, "a", 6) == [{"a": 6}]


def test_only_so_many_kinds_are_kept_in_mind_and_none_is_lost(held: HeldBack) -> None:
    """What was told longest ago makes room."""
    for kind in "abc":
        add(held, kind, 1, 2, 3)

    assert add(held, "d", 1) == [{"d": 1}, {"a": 3, "repeated": 1}]
    assert add(held, "e", 1) == [{"e": 1}, {"b": 3, "repeated": 1}]
    assert list(held.rest()) == [{"c": 3, "repeated": 1}]
    assert list(held.rest()) == []


def test_every_line_is_accounted_for(held: HeldBack, clock: Clock) -> None:
    """Whatever comes in which order."""
    told = []
    for number in range(1000):
        told += add(held, "abcde"[number * number % 5], number)
        told += list(held.due())
        clock.now += 0.07 if number % 3 else 0.6
    told += list(held.rest())

    assert count(told) == 1000
    assert len(told) < 900
