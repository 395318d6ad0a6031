"""Finding an owner's tasks, the one whose status changed last first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from sqlalchemy import Connection, case, func, or_, select, union_all

from a2a_state.tables import task_events, tasks
from agent.model import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Row, Select

    from a2a_state.database import Database

_TERMINAL = frozenset(state.value for state in TERMINAL)
_ALIVE = tasks.c.ended_at.is_(None)
_ENDED = tasks.c.ended_at.is_not(None)


class TaskFilter(msgspec.Struct, frozen=True):
    """Which tasks: the owner's, with all that is not empty. ``updated_after`` is inclusive.

    Without an owner, those of everybody within the tenant.
    """

    owner: str | None
    tenant: str
    context_id: str = ""
    state: str | None = None
    updated_after: int | None = None


class Position(msgspec.Struct, frozen=True):
    """A place in the order of tasks: just behind this one."""

    updated_at: int
    task_id: str


class ListedTask(msgspec.Struct, frozen=True):
    """A task as of its row, and the events that came after, in order: JSON arrays of stream responses."""

    task_id: str
    updated_at: int
    body: bytes
    later_events: tuple[bytes, ...] = ()


class FoundTasks(msgspec.Struct, frozen=True):
    """Some tasks in order, whether there are more behind them, and how many there are in all."""

    tasks: list[ListedTask]
    more: bool
    total: int


class Room(msgspec.Struct, frozen=True):
    """What a page may hold: so many tasks, and none that begins behind so many bytes."""

    tasks: int
    bytes: int


class TaskSearch:
    """The tasks of all owners; a search sees one owner's."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database

    async def find(
        self, wanted: TaskFilter, *, behind: Position | None, room: Room, with_events: bool
    ) -> FoundTasks:
        """Return as many tasks as there is room for, at least one, behind a position (None: all).

        A row is as of the last change of state: what came after is read ``with_events`` only.
        """
        found, total = _page(wanted, behind, room, with_events=with_events), _total(wanted)

        def work(connection: Connection) -> FoundTasks:
            count: int = connection.execute(total).scalar_one()
            places = connection.execute(found).all() if count else ()
            places = sorted(places, key=lambda row: row.bytes_before)
            rows = [row for row in places[: room.tasks] if row.body is not None]
            later = _later(connection, rows) if with_events else {}
            listed = [
                ListedTask(row.task_id, row.updated_at, row.body, tuple(later.get(row.task_id, ())))
                for row in rows
            ]
            return FoundTasks(listed, len(places) > len(rows), count)

        return await self._database.read(work)


class _Part(NamedTuple):
    """Some of the tasks that are wanted; ``few`` are sorted faster than they are found in order."""

    condition: ColumnElement[bool]
    few: bool = False


def _parts(wanted: TaskFilter) -> list[_Part]:
    """Return what is wanted in parts that one index each answers: those alive have their own."""
    mine = tasks.c.tenant == wanted.tenant
    if wanted.owner is not None:
        mine &= tasks.c.owner == wanted.owner
    if wanted.updated_after is not None:
        mine &= tasks.c.updated_at >= wanted.updated_after
    if wanted.state is not None:
        mine &= tasks.c.state == wanted.state
    if wanted.context_id:
        mine &= tasks.c.context_id == wanted.context_id
    alive, ended = _Part(mine & _ALIVE, few=True), _Part(mine & _ENDED)
    if wanted.state is not None and wanted.state not in _TERMINAL:
        return [alive]
    if not wanted.context_id:
        return [_Part(mine)]
    return [ended] if wanted.state else [alive, ended]


def _total(wanted: TaskFilter) -> Select[Any]:
    first, *others = (
        select(func.count()).select_from(tasks).where(part.condition).scalar_subquery()
        for part in _parts(wanted)
    )
    return select(sum(others, start=first))


def _page(
    wanted: TaskFilter, behind: Position | None, room: Room, *, with_events: bool
) -> Select[Any]:
    """Build the statement for one page and the place behind it, in no order.

    The tasks are found by what an index and the head of a row tell: no body is read, nor sorted,
    but those that there is room for. The others are null.
    """
    places = _places(wanted, behind, room.tasks + 1, _size(with_events=with_events)).subquery()
    up_to_here = func.sum(places.c.size).over(
        order_by=(places.c.updated_at.desc(), places.c.task_id.desc()), rows=(None, 0)
    )
    before = select(places.c.task_id, (up_to_here - places.c.size).label("bytes_before")).subquery()
    fits = before.c.bytes_before < room.bytes
    return select(
        tasks.c.task_id,
        tasks.c.updated_at,
        tasks.c.ended_at,
        tasks.c.seq,
        case((fits, tasks.c.body)).label("body"),
        before.c.bytes_before,
    ).join_from(before, tasks, tasks.c.task_id == before.c.task_id)


def _size(*, with_events: bool) -> ColumnElement[int]:
    """Return how many bytes a task is; both databases know that of a value without reading it."""
    body = func.length(tasks.c.body)
    if not with_events:
        return body
    later = (
        select(func.coalesce(func.sum(func.length(task_events.c.body)), 0))
        .where(task_events.c.task_id == tasks.c.task_id, task_events.c.first_seq > tasks.c.seq)
        .scalar_subquery()
    )
    return case((_ALIVE, body + later), else_=body)


def _places(
    wanted: TaskFilter, behind: Position | None, limit: int, size: ColumnElement[int]
) -> Select[Any]:
    """Build the statement for the first places; of each part no more is read than is wanted."""
    pages = [_some(part, behind, limit, size) for part in _parts(wanted)]
    if len(pages) == 1:
        return pages[0]
    both = union_all(*(select(page.subquery()) for page in pages)).subquery()
    in_order = select(*both.c).order_by(both.c.updated_at.desc(), both.c.task_id.desc())
    return in_order.limit(limit)


def _some(
    part: _Part, behind: Position | None, limit: int, size: ColumnElement[int]
) -> Select[Any]:
    at, task_id = tasks.c.updated_at, tasks.c.task_id
    some = select(task_id, at, size.label("size")).where(part.condition).limit(limit)
    if behind is not None:
        # The first condition is for the index, which does not hold the ids.
        next_ones = (at < behind.updated_at) | (task_id < behind.task_id)
        some = some.where(at <= behind.updated_at, next_ones)
    # A sum is in no index: it keeps SQLite from reading all of the owner's tasks in order.
    return some.order_by((at + 0 if part.few else at).desc(), task_id.desc())


def _later(connection: Connection, rows: Sequence[Row[Any]]) -> dict[str, list[bytes]]:
    """Return the events that came after these rows, by task."""
    read_up_to = [(row.task_id, row.seq) for row in rows if row.ended_at is None]
    if not read_up_to:
        return {}
    places = or_(
        *(
            (task_events.c.task_id == task_id) & (task_events.c.first_seq > seq)
            for task_id, seq in read_up_to
        )
    )
    found = connection.execute(
        select(task_events.c.task_id, task_events.c.body)
        .where(places)
        .order_by(task_events.c.task_id, task_events.c.first_seq)
    )
    later: dict[str, list[bytes]] = {}
    for task_id, body in found:
        later.setdefault(task_id, []).append(body)
    return later
