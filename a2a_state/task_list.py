"""Finding an owner's tasks, the one whose status changed last first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from sqlalchemy import Connection, func, or_, select, union_all

from a2a_state.tables import task_events, tasks
from agent.model import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Row, Select

    from a2a_state.database import Database

_TERMINAL = frozenset(state.value for state in TERMINAL)
_ALIVE = tasks.c.ended_at.is_(None)
_ENDED = tasks.c.ended_at.is_not(None)
_LISTED = (tasks.c.task_id, tasks.c.updated_at, tasks.c.ended_at, tasks.c.seq, tasks.c.body)


class TaskFilter(msgspec.Struct, frozen=True):
    """Which tasks: the owner's, with all that is not empty. ``updated_after`` is inclusive."""

    owner: str
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
    """Some tasks in order, and how many there are in all."""

    tasks: list[ListedTask]
    total: int


class TaskSearch:
    """The tasks of all owners; a search sees one owner's."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database

    async def find(
        self, wanted: TaskFilter, *, behind: Position | None, limit: int, with_events: bool
    ) -> FoundTasks:
        """Return up to ``limit`` tasks behind a position (None: from the first on).

        A row is as of the last change of state: what came after is read ``with_events`` only.
        """
        found, total = _page(wanted, behind, limit), _total(wanted)

        def work(connection: Connection) -> FoundTasks:
            count: int = connection.execute(total).scalar_one()
            rows = connection.execute(found).all() if count else ()
            later = _later(connection, rows) if with_events else {}
            listed = [
                ListedTask(row.task_id, row.updated_at, row.body, tuple(later.get(row.task_id, ())))
                for row in rows
            ]
            return FoundTasks(listed, count)

        return await self._database.read(work)


class _Part(NamedTuple):
    """Some of the tasks that are wanted; ``few`` are sorted faster than they are found in order."""

    condition: ColumnElement[bool]
    few: bool = False


def _parts(wanted: TaskFilter) -> list[_Part]:
    """Return what is wanted in parts that one index each answers: those alive have their own."""
    mine = (tasks.c.owner == wanted.owner) & (tasks.c.tenant == wanted.tenant)
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


def _page(wanted: TaskFilter, behind: Position | None, limit: int) -> Select[Any]:
    """Build the statement for one page; of each part no more is read than the page may hold."""
    pages = [_some(part, behind, limit) for part in _parts(wanted)]
    if len(pages) == 1:
        return pages[0]
    both = union_all(*(select(page.subquery()) for page in pages)).subquery()
    in_order = select(*both.c).order_by(both.c.updated_at.desc(), both.c.task_id.desc())
    return in_order.limit(limit)


def _some(part: _Part, behind: Position | None, limit: int) -> Select[Any]:
    at, task_id = tasks.c.updated_at, tasks.c.task_id
    some = select(*_LISTED).where(part.condition).limit(limit)
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
