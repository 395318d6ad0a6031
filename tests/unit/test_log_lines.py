"""What the log tells of exceptions."""

from __future__ import annotations

import logging
import sys
from typing import NoReturn

import httpx

from agent.cli.log_lines import MOST, LogLines
from agent.errors import StackUnavailable

SECRET = "Bearer 123"


def break_with(error: BaseException) -> NoReturn:
    """Raise it."""
    raise error


def told(error: BaseException) -> str:
    """Return what is logged when an exception is raised and caught."""
    try:
        break_with(error)
    except BaseException:  # noqa: BLE001 - whatever a test raises
        return LogLines("%(message)s", use_colors=False).format(
            logging.LogRecord("n", logging.ERROR, "p", 1, "It broke", (), sys.exc_info())
        )


def test_what_another_server_said_is_left_out_and_where_it_happened_is_not() -> None:
    said = told(httpx.ConnectError(SECRET))

    assert said.startswith("It broke\nTraceback (most recent call last):\n  File ")
    assert said.endswith("httpx.ConnectError: (what it says is not logged)")
    assert "raise error" in said
    assert SECRET not in said


def test_what_led_to_it_is_told_in_the_same_way() -> None:
    error = StackUnavailable("The model server failed.")
    error.__cause__ = httpx.ReadError(SECRET)
    error.__cause__.__context__ = KeyError("key")

    said = told(error)

    assert "KeyError: 'key'" in said
    assert "During handling of the above exception" in said
    assert "httpx.ReadError: (what it says is not logged)" in said
    assert "was the direct cause of" in said
    assert said.endswith("agent.errors.StackUnavailable: The model server failed.")
    assert SECRET not in said


def test_the_parts_of_a_group_are_told_in_the_same_way() -> None:
    said = told(ExceptionGroup("several", [httpx.ConnectError(SECRET), ValueError("ours")]))

    assert "Number 1 of this group:" in said
    assert said.endswith("ValueError: ours")
    assert SECRET not in said


def test_what_is_hidden_stays_hidden() -> None:
    error = ValueError("said")
    error.__context__ = KeyError("hidden")
    error.__suppress_context__ = True

    assert "hidden" not in told(error)


def test_a_chain_without_end_ends() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert told(first).count("Traceback") == 2

    many = ExceptionGroup("many", [ValueError(str(number)) for number in range(100)])
    assert told(many).count("Traceback") == MOST
