"""How many bytes messages may have that wait or run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.budget import Budget
from agent.errors import TooManyTasks
from agent.settings.own import Limits
from agent.tally import Tally

if TYPE_CHECKING:
    from agent.budget import Hold

ALL, EACH = 100, 40
LIMITS = Limits(running_bytes=ALL, running_bytes_per_owner=EACH)


@pytest.fixture
def budget() -> Budget:
    return Budget(LIMITS)


def refused(budget: Budget, owner: str, size: int) -> bool:
    """Whether there is no room; what is tried takes none."""
    try:
        budget.hold(owner, size).end()
    except TooManyTasks:
        return True
    return False


def held(budget: Budget, *sizes: tuple[str, int]) -> list[Hold]:
    """Hold messages of these owners and sizes."""
    return [budget.hold(owner, size) for owner, size in sizes]


@pytest.mark.parametrize(
    ("before", "owner", "size", "too_large"),
    [
        ([("ann", 30)], "ann", 10, False),
        ([("ann", 30)], "ann", 11, True),
        ([("ann", 40)], "bob", 40, False),
        ([("ann", 40), ("bob", 40)], "cleo", 20, False),
        ([("ann", 40), ("bob", 40)], "cleo", 21, True),
    ],
    ids=["to the brim", "one more", "another's", "all to the brim", "one more in all"],
)
def test_messages_of_one_owner_and_of_all_have_a_bound(
    budget: Budget, before: list[tuple[str, int]], owner: str, size: int, *, too_large: bool
) -> None:
    held(budget, *before)

    assert refused(budget, owner, size) is too_large


def test_a_message_that_is_alone_is_never_too_large(budget: Budget) -> None:
    """Else it could never run, whenever it is sent."""
    large = budget.hold("ann", ALL + 1)

    with pytest.raises(TooManyTasks) as refusal:
        budget.hold("ann", 1)
    assert refusal.value.retry_after > 0
    assert refused(budget, "bob", 1)
    large.end()
    assert not refused(budget, "bob", ALL + 1)


def test_what_one_owner_has_alone_leaves_the_bound_of_all(budget: Budget) -> None:
    held(budget, ("ann", 40))

    assert not refused(budget, "bob", 60)
    assert refused(budget, "bob", 61)


def test_a_message_counts_until_it_ends_and_no_longer(budget: Budget) -> None:
    hold = budget.hold("ann", EACH)
    assert refused(budget, "ann", 1)

    hold.end()
    hold.end()

    held(budget, ("ann", EACH))
    assert refused(budget, "ann", 1), "it ended once, though it was told so twice"


def test_a_block_ends_what_nobody_keeps(budget: Budget) -> None:
    with budget.hold("ann", EACH):
        assert refused(budget, "ann", 1)
    assert not refused(budget, "ann", 1)

    with budget.hold("ann", EACH) as hold:
        hold.keep()
    assert refused(budget, "ann", 1)
    hold.end()
    assert not refused(budget, "ann", 1)


def test_what_a_message_brings_with_it_counts_too(budget: Budget) -> None:
    hold, other = held(budget, ("ann", 10), ("ann", 10))

    hold.grow(20)
    with pytest.raises(TooManyTasks):
        hold.grow(1)

    other.end()
    assert not refused(budget, "ann", 10), "what was refused is not counted"
    assert refused(budget, "ann", 11)
    hold.grow(1000)
    hold.end()
    assert not refused(budget, "ann", EACH + 1), "nothing is left"


def test_owners_with_nothing_are_forgotten() -> None:
    tally = Tally(10, 10)
    for owner, amount in [("ann", 1), ("bob", 0), ("bob", 0), ("cleo", 3)]:
        tally.add(owner, amount)
    for owner, amount in [("bob", 0), ("ann", 1), ("bob", 0), ("cleo", 1), ("cleo", 2)]:
        tally.take_off(owner, amount)

    assert tally._owned == {}
    assert tally._total == 0
