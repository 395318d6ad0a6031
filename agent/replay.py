"""What is stored -> tasks and events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.errors import StateError
from agent.model import ArtifactUpdate, Event, Message, StatusUpdate, Task
from agent.task_builder import TaskBuilder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from a2a_state.tasks import LogRow, StoredTask


class _Stored(msgspec.Struct, frozen=True, rename="camel"):
    """``StreamResponse``: one member is set."""

    task: Task | None = None
    message: Message | None = None
    status_update: StatusUpdate | None = None
    artifact_update: ArtifactUpdate | None = None


_decode_task = msgspec.json.Decoder(Task).decode
_decode_events = msgspec.json.Decoder(list[_Stored]).decode


def restore(stored: StoredTask) -> Task:
    """Return the task as of its last stored event; raises ``StateError`` when it cannot be read."""
    try:
        builder = TaskBuilder(_decode_task(stored.row.body))
        for body in stored.later_events:
            for event in events(body):
                builder.apply(event)
    except msgspec.MsgspecError as exc:
        raise StateError from exc
    return builder.task()


def numbered(rows: Iterable[LogRow], after: int) -> list[tuple[int, Event]]:
    """Return the events of the log's rows after number ``after``; raises ``StateError``."""
    try:
        return [
            (seq, event)
            for row in rows
            for seq, event in enumerate(events(row.body), row.first_seq)
            if seq > after
        ]
    except msgspec.MsgspecError as exc:
        raise StateError from exc


def events(body: bytes) -> Iterator[Event]:
    """Read a row of the event log."""
    for stored in _decode_events(body):
        event = stored.task or stored.message or stored.status_update or stored.artifact_update
        if event is not None:
            yield event
