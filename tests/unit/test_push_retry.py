"""Failed deliveries are tried again, later each time, and not for ever."""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from agent.outgoing.outgoing import Outcome
from agent.push.retry import Retry, is_delivered, problem
from agent.settings.push import Push

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_800_000_000.0
FAILED = Outcome(500)


def retry(pick: Callable[[float, float], float] = max, **settings: float) -> Retry:
    """Return a policy that draws the longest of all delays."""
    return Retry(Push.model_validate({"backoff_max_seconds": 100, **settings}), pick)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_success_is_2xx(status: int) -> None:
    assert is_delivered(Outcome(status))


@pytest.mark.parametrize("status", [101, 199, 300, 301, 302, 304, 307, 308, 400, 404, 500, 503])
def test_everything_else_is_a_failure(status: int) -> None:
    assert not is_delivered(Outcome(status))
    assert problem(Outcome(status)) == f"HTTP status {status}"


def test_no_answer_is_a_failure() -> None:
    assert not is_delivered(Outcome(problem="timeout"))
    assert problem(Outcome(problem="timeout")) == "timeout"


def test_delays_double_up_to_a_limit() -> None:
    delays = [retry().delay(FAILED, attempts, NOW) for attempts in (1, 2, 3, 7, 8, 9, 10_000)]

    assert delays == [1, 2, 4, 64, 100, 100, 100]


def test_delays_are_drawn_from_nothing_on() -> None:
    """Full jitter: receivers that come back are not met by everybody at once."""
    assert retry(min).delay(FAILED, 5, NOW) == 0
    assert 0 <= Retry(Push()).delay(FAILED, 5, NOW) <= 16


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("asked", "delay"),
    [
        ("7", 7),
        ("0", 1),
        ("86400", 100),
        ("9" * 400, 100),
        (formatdate(NOW + 30, usegmt=True), 30),
        (formatdate(NOW - 30, usegmt=True), 1),
        ("soon", 1),
        ("-5", 1),
        ("", 1),
        ("1.5", 1),
        ("Mon, 99 Jan 99999 00:00:00 GMT", 1),
    ],
)
def test_a_receiver_may_say_when(status: int, asked: str, delay: float) -> None:
    """But not later than the longest delay."""
    assert retry().delay(Outcome(status, retry_after=asked), 1, NOW) == delay


def test_other_failures_do_not_say_when() -> None:
    assert retry().delay(Outcome(500, retry_after="50"), 1, NOW) == 1


def test_after_so_many_failures_in_a_row_it_is_given_up() -> None:
    policy = retry(attempts=3)

    assert [policy.gives_up(FAILED, attempts) for attempts in (1, 2, 3, 4)] == [
        False,
        False,
        True,
        True,
    ]


def test_a_receiver_that_is_gone_is_given_up_at_once() -> None:
    assert retry().gives_up(Outcome(410), 1)
