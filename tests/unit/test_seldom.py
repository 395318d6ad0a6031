"""Warnings that callers cause at will."""

from __future__ import annotations

import logging

import pytest

from agent.cli.seldom import MOST, TOLD_SECONDS, Seldom


class Clock:
    """Seconds, as the test says."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def record(level: int, text: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord("uvicorn.error", level, "", 0, text, values, None)


def test_a_warning_is_told_once_until_its_time_is_over(clock: Clock) -> None:
    seldom = Seldom(clock)
    late = record(logging.WARNING, "Refused: %s", "408")

    told = [seldom.filter(late) for _ in range(3)]
    clock.now = TOLD_SECONDS - 1
    told.append(seldom.filter(late))
    clock.now = TOLD_SECONDS
    told.append(seldom.filter(late))

    assert told == [True, False, False, False, True]


def test_another_warning_is_told_as_well(clock: Clock) -> None:
    seldom = Seldom(clock)

    assert all(
        seldom.filter(record(logging.WARNING, "Refused: %s", status)) for status in ("408", "431")
    )


@pytest.mark.parametrize("level", [logging.INFO, logging.ERROR], ids=logging.getLevelName)
def test_what_is_no_warning_is_always_told(clock: Clock, level: int) -> None:
    seldom = Seldom(clock)

    assert [seldom.filter(record(level, "said")) for _ in range(3)] == [True] * 3


def test_what_was_told_is_remembered_up_to_a_bound(clock: Clock) -> None:
    seldom = Seldom(clock)

    assert all(seldom.is_due(str(number)) for number in range(MOST + 1))
    assert not seldom.is_due("1")
    assert seldom.is_due("0")
