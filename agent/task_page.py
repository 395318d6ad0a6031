"""``ListTasks`` (A2A 1.0 section 3.1.4): an owner's tasks, a page at a time."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import struct
from typing import TYPE_CHECKING

import msgspec

from a2a_state.task_list import ListedTask, Position, Room, TaskFilter, TaskSearch
from agent.errors import InvalidParams, StateError
from agent.model import Message, Metadata, StatusUpdate, Task, TaskPage, TaskStatus, with_history
from agent.others import may_list
from agent.replay import events
from agent.task_builder import TaskBuilder

if TYPE_CHECKING:
    from a2a_state.database import Database
    from agent.caller import Caller
    from agent.model import ListRequest

_HEAD = struct.Struct(">q8s")
_TOKEN_CHARS = 1024
_LARGE = 64 * 1024
_NOT_OURS = "is not one that this server gave"


class _WithoutArtifacts(msgspec.Struct, frozen=True, rename="camel"):
    """A task as it is listed most often; what is not named here is not decoded."""

    id: str
    context_id: str
    status: TaskStatus
    history: list[Message] = []
    metadata: Metadata = None


_decode = msgspec.json.Decoder(Task).decode
_decode_without_artifacts = msgspec.json.Decoder(_WithoutArtifacts).decode


class TaskList:
    """Pages of the callers' tasks, the one whose status changed last first.

    Of tasks that do not change while a caller pages, none is left out and none comes twice.
    """

    def __init__(self, database: Database, page_bytes: int) -> None:
        """``page_bytes``, of tasks as they are stored, end a page; one task alone may be larger."""
        self._search = TaskSearch(database)
        self._page_bytes = page_bytes

    async def page(self, caller: Caller, request: ListRequest) -> TaskPage:
        """Return a page; raises ``InvalidParams`` for a page token of another list."""
        wanted = _filter(caller, request)
        found = await self._search.find(
            wanted,
            behind=_position(request.page_token, wanted) if request.page_token else None,
            room=Room(request.page_size, self._page_bytes),
            with_events=request.include_artifacts,
        )
        listed = []
        for task in found.tasks:
            listed.append(_task(task, request))
            if len(task.body) > _LARGE:
                await asyncio.sleep(0)  # others have their turn
        return TaskPage(
            tasks=listed,
            next_page_token=_token(found.tasks[-1], wanted) if found.more else "",
            page_size=request.page_size,
            total_size=found.total,
        )


def _filter(caller: Caller, request: ListRequest) -> TaskFilter:
    if not request.context_id.isprintable():
        raise InvalidParams("contextId", "must have printable characters only")
    return TaskFilter(
        owner=None if may_list(caller) else caller.owner,
        tenant=caller.tenant,
        context_id=request.context_id,
        state=request.status.value if request.status else None,
        updated_after=request.updated_after,
    )


def _task(listed: ListedTask, request: ListRequest) -> Task:
    """Return a task as of its last change of state, with the text since then if it is asked for."""
    try:
        if request.include_artifacts:
            task = _with_text(_decode(listed.body), listed.later_events)
        else:
            known = _decode_without_artifacts(listed.body)
            task = Task(known.id, known.context_id, known.status, [], known.history, known.metadata)
    except msgspec.MsgspecError as exc:
        raise StateError from exc
    return with_history(task, request.history_length)


def _with_text(task: Task, later_events: tuple[bytes, ...]) -> Task:
    builder = TaskBuilder(task)
    for body in later_events:
        for event in events(body):
            if isinstance(event, StatusUpdate):
                # It came after the row was read: the task would not fit the filters, nor its place.
                return builder.task()
            builder.apply(event)
    return builder.task()


def _token(last: ListedTask, wanted: TaskFilter) -> str:
    """Name the place behind a task, for this list only."""
    raw = _HEAD.pack(last.updated_at, _digest(wanted)) + last.task_id.encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _position(token: str, wanted: TaskFilter) -> Position:
    """Read a token; the tasks behind it are the caller's own, whatever it says."""
    if len(token) > _TOKEN_CHARS:
        raise InvalidParams("pageToken", _NOT_OURS)
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
        updated_at, digest = _HEAD.unpack_from(raw)
        task_id = raw[_HEAD.size :].decode()
    except (ValueError, binascii.Error, struct.error) as exc:
        raise InvalidParams("pageToken", _NOT_OURS) from exc
    if digest != _digest(wanted):
        raise InvalidParams("pageToken", "belongs to a list with other filters")
    if not task_id.isprintable():
        raise InvalidParams("pageToken", _NOT_OURS)
    return Position(updated_at, task_id)


def _digest(wanted: TaskFilter) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(wanted), digest_size=8).digest()
