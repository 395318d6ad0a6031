"""Times of retention, and the ids that it knows the age of tasks by."""

import pytest
from pydantic import ValidationError

from a2a_state.retention import task_ids_from
from agent.clock import now
from agent.model import new_task_id
from agent.settings import Settings
from agent.settings.retention import Retention


def test_the_id_of_a_task_tells_when_it_was_made() -> None:
    before = now()
    made = [new_task_id() for _ in range(200)]
    after = now()

    assert task_ids_from(before) < min(made)
    assert max(made) < task_ids_from(after + 1)


@pytest.mark.parametrize("at", [1, 0xFFFF, 0x10000, 1_800_000_000_000, 0xFFFFFFFFFFFE])
def test_the_ids_of_a_moment_come_after_those_of_the_one_before(at: int) -> None:
    last = f"{(at - 1) >> 16:08x}-{(at - 1) & 0xFFFF:04x}-7fff-bfff-ffffffffffff"

    assert last < task_ids_from(at) < task_ids_from(at + 1)


def test_nothing_is_kept_for_ever_unless_it_is_asked_for() -> None:
    kept = Settings().retention

    assert (kept.tasks_days, kept.contexts_days, kept.idempotency_hours) == (30, 90, 24)
    assert kept.jobs_days == 30
    assert Retention(tasks_days=None, contexts_days=None).tasks_days is None


@pytest.mark.parametrize("value", [0, -1, "x", True, float("inf"), 100_001])
@pytest.mark.parametrize("name", list(Retention.model_fields))
def test_a_time_is_a_number_above_zero(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        Retention.model_validate({name: value})
