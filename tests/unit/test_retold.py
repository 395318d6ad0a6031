"""What clients hear of artifacts whose turn broke off."""

from __future__ import annotations

import pytest

from agent.model import Artifact, Part, Task, TaskState, TaskStatus
from agent.retold import retold, retold_for
from agent.turn_requests import StoredRequest, write_stored_request

EARLIER = Artifact("earlier", [Part(text="done")])
LATEST = Artifact("latest", [Part(text="half a")])
TASK = Task("task", "context", TaskStatus(TaskState.WORKING), artifacts=[EARLIER, LATEST])


def test_only_the_artifacts_of_the_latest_turn_are_told_again() -> None:
    """They take the place of what was heard of them."""
    (update,) = retold(TASK, ("earlier",))

    assert (update.task_id, update.context_id) == ("task", "context")
    assert update.artifact == LATEST
    assert not update.append


@pytest.mark.parametrize(
    ("stored_request", "told"),
    [
        (write_stored_request(StoredRequest("m", kept_artifacts=("earlier",))), [LATEST]),
        (None, [EARLIER, LATEST]),
        (b"{", [EARLIER, LATEST]),
    ],
    ids=["known", "of an older version", "unreadable"],
)
def test_what_stands_in_the_row_says_which_those_are(
    stored_request: bytes | None, told: list[Artifact]
) -> None:
    assert [update.artifact for update in retold_for(TASK, stored_request)] == told
