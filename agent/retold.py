"""Artifacts of a turn that broke off, told again as they are stored.

Text may be heard a moment before it is stored. Who heard some that was never stored, because the process
died, hears what the artifact really holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.model import ArtifactUpdate
from agent.turn_requests import read_stored_request

if TYPE_CHECKING:
    from collections.abc import Collection

    from agent.model import Task


def retold(task: Task, kept: Collection[str]) -> list[ArtifactUpdate]:
    """Return what replaces the artifacts of the latest turn; those ``kept`` are of earlier ones."""
    return [
        ArtifactUpdate(task.id, task.context_id, artifact)
        for artifact in task.artifacts
        if artifact.artifact_id not in kept
    ]


def retold_for(task: Task, stored_request: bytes | None) -> list[ArtifactUpdate]:
    """Do the same by what stands in the task's row."""
    try:
        request = read_stored_request(stored_request)
    except msgspec.MsgspecError:
        request = None
    return retold(task, () if request is None else request.kept_artifacts)
