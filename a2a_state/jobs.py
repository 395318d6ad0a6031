"""Jobs that go on after the call that began them: evaluations and training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Connection, delete, func, select, update

from a2a_state.job_table import ALIVE, jobs
from agent.errors import TooManyTasks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement, Delete, Select

    from a2a_state.database import Database

type Json = Any

SCHEDULED, IN_PROGRESS = "scheduled", "in_progress"
COMPLETED, FAILED, CANCELLED = "completed", "failed", "cancelled"

EVAL = "eval"
"""The kind of evaluations."""

KEPT = 1000
"""How many jobs of one kind are kept for a caller: the oldest that have ended go."""

KEPT_BYTES = 256 * 1024 * 1024
"""How large their results may be together, and what was saved of those without one."""

RETRY_AFTER_SECONDS = 30


class JobKey(msgspec.Struct, frozen=True):
    """Names one job."""

    owner: str
    tenant: str
    kind: str
    job_id: str


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job: see the table for what the columns mean; times are milliseconds since the epoch."""

    owner: str
    tenant: str
    kind: str
    job_id: str
    subject: str = ""
    state: str = SCHEDULED
    request: Json
    progress: Json = None
    result: Json = None
    error: str | None = None
    created_at: int
    started_at: int | None = None
    ended_at: int | None = None
    cancel_at: int | None = None
    fence: int = 0
    lease_holder: str = ""
    lease_until: int = 0

    @property
    def key(self) -> JobKey:
        """What names it."""
        return JobKey(self.owner, self.tenant, self.kind, self.job_id)


class Jobs:
    """The jobs of all owners; whoever asks for an owner's names owner and tenant."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database

    async def add(self, job: Job, waiting_limit: int) -> bool:
        """Add a job; False when its id is taken.

        Raises ``TooManyTasks`` when so many of the owner's have not ended.
        """

        def work(connection: Connection) -> bool:
            if connection.execute(select(jobs.c.job_id).where(_is(job.key))).first() is not None:
                return False
            alive = select(func.count()).where(ALIVE, _of(job.owner, job.tenant, job.kind))
            if connection.execute(alive).scalar_one() >= waiting_limit:
                raise TooManyTasks(RETRY_AFTER_SECONDS)
            added = self._database.insert(jobs).values(_row(job)).on_conflict_do_nothing()
            is_new = bool(connection.execute(added).rowcount)
            connection.execute(outdated(job))
            return is_new

        return await self._database.write(work)

    async def get(
        self, owner: str, tenant: str, kind: str, job_id: str, *, brief: bool = False
    ) -> Job | None:
        """Return the owner's job, if it is there; a brief one has no progress and no result."""
        columns = _BRIEF if brief else tuple(jobs.c)
        query = select(*columns).where(_is(JobKey(owner, tenant, kind, job_id)))
        return await self._database.read(lambda c: _first(c, query))

    async def result(self, key: JobKey) -> msgspec.Raw | None:
        """Return the JSON that came of a job: it may be large."""
        query = select(jobs.c.result).where(_is(key))
        found = await self._database.read(lambda c: c.execute(query).scalar())
        return None if found is None else msgspec.Raw(found)

    async def list(
        self, owner: str, tenant: str, kind: str, subject: str | None = None
    ) -> Sequence[Job]:
        """Return the owner's jobs, the oldest first, without their progress and result."""
        query = select(*_BRIEF).where(_of(owner, tenant, kind))
        query = query.order_by(jobs.c.created_at, jobs.c.job_id)
        if subject is not None:
            query = query.where(jobs.c.subject == subject)
        return await self._database.read(
            lambda c: [_job(row) for row in c.execute(query).mappings()]
        )

    async def claim(self, kind: str, holder: str, now: int, until: int) -> Job | None:
        """Become the one who runs a job that nobody runs; None when there is none.

        It is of the owner of whom the fewest run, and the oldest of those.
        """
        waiting = select(jobs).where(_waits(kind, now)).limit(1)
        next_one = _fairly(waiting, kind, now).with_for_update(of=jobs, skip_locked=True)

        def work(connection: Connection) -> Job | None:
            # SQLite has no locks on rows, and needs none: it has one writer at a time.
            found = _first(connection, next_one)
            if found is None:
                return None
            values = {
                "state": IN_PROGRESS,
                "started_at": found.started_at or now,
                "fence": found.fence + 1,
                "lease_holder": holder,
                "lease_until": until,
            }
            connection.execute(update(jobs).where(_is_held(found)).values(values))
            return msgspec.structs.replace(found, **values)

        # No transaction that writes, where there is nothing to claim.
        any_one = waiting.with_only_columns(jobs.c.job_id)
        if await self._database.read(lambda c: c.execute(any_one).first()) is None:
            return None
        return await self._database.write(work)

    async def renew(self, job: Job, until: int) -> bool:
        """Give a sign of life; False when another runs it now, or it has ended."""
        return await self._change(job, {"lease_until": until})

    async def to_cancel(self, kind: str, holder: str) -> Sequence[JobKey]:
        """Return which jobs that ``holder`` runs somebody wants canceled."""
        query = select(jobs.c.owner, jobs.c.tenant, jobs.c.kind, jobs.c.job_id).where(
            ALIVE,
            jobs.c.kind == kind,
            jobs.c.lease_holder == holder,
            jobs.c.cancel_at.is_not(None),
        )
        return await self._database.read(lambda c: [JobKey(*row) for row in c.execute(query)])

    async def save(self, job: Job, progress: Json) -> bool:
        """Keep how far a job is; False when another runs it now, or it has ended."""
        return await self._change(job, {"progress": msgspec.json.encode(progress)})

    async def release(self, job: Job) -> bool:
        """Let another go on with a job at once; False when another does already."""
        return await self._change(job, {"lease_until": 0})

    async def settle(
        self, job: Job, state: str, now: int, *, result: Json = None, error: str | None = None
    ) -> bool:
        """End a job; False when another runs it now, or it has ended."""
        values = {
            "state": state,
            "result": None if result is None else msgspec.json.encode(result),
            "error": error,
            "ended_at": now,
            # The result says all that it said, unless there is none.
            **({} if result is None else {"progress": None}),
        }
        return await self._change(job, values)

    async def cancel(self, owner: str, tenant: str, kind: str, job_id: str, now: int) -> Job | None:
        """End a job that nobody runs, or have the one who runs it end it; None when it is not there.

        Nothing becomes of one that has ended.
        """
        query = select(*_BRIEF).where(_is(JobKey(owner, tenant, kind, job_id)))

        def work(connection: Connection) -> Job | None:
            found = _first(connection, query.with_for_update())
            if found is None or found.ended_at is not None:
                return found
            values: dict[str, Any] = {"cancel_at": found.cancel_at or now}
            if found.lease_until < now:
                # The fence rises: whoever ran it, and is only slow, writes nothing more.
                values |= {"state": CANCELLED, "ended_at": now, "fence": found.fence + 1}
            connection.execute(update(jobs).where(_is_held(found)).values(values))
            return msgspec.structs.replace(found, **values)

        return await self._database.write(work)

    async def _change(self, job: Job, values: Mapping[str, Any]) -> bool:
        changed = update(jobs).where(_is_held(job), ALIVE).values(values)
        return bool(await self._database.write(lambda c: c.execute(changed).rowcount))


_JSON = ("request", "progress", "result")
_BRIEF = tuple(column for column in jobs.c if column.name not in {"progress", "result"})


def _of(owner: str, tenant: str, kind: str) -> ColumnElement[bool]:
    return (jobs.c.owner == owner) & (jobs.c.tenant == tenant) & (jobs.c.kind == kind)


def _is(key: JobKey) -> ColumnElement[bool]:
    return _of(key.owner, key.tenant, key.kind) & (jobs.c.job_id == key.job_id)


def _is_held(job: Job) -> ColumnElement[bool]:
    return _is(job.key) & (jobs.c.fence == job.fence)


def _waits(kind: str, now: int) -> ColumnElement[bool]:
    return ALIVE & (jobs.c.lease_until < now) & (jobs.c.kind == kind)


def _fairly(waiting: Select[Any], kind: str, now: int) -> Select[Any]:
    """Order jobs by how many of their owner run, then by their age."""
    running = (
        select(jobs.c.owner, func.count().label("count"))
        .where(ALIVE, jobs.c.lease_until >= now, jobs.c.kind == kind)
        .group_by(jobs.c.owner)
        .subquery()
    )
    return waiting.outerjoin_from(jobs, running, running.c.owner == jobs.c.owner).order_by(
        func.coalesce(running.c.count, 0), jobs.c.created_at, jobs.c.job_id
    )


def outdated(job: Job, most_bytes: int = KEPT_BYTES) -> Delete:
    """Return what removes the jobs that have ended, of the kind, but for the latest of the owner."""
    ours = _of(job.owner, job.tenant, job.kind)
    latest_first = (jobs.c.created_at.desc(), jobs.c.job_id.desc())
    sizes = (func.coalesce(func.length(column), 0) for column in (jobs.c.result, jobs.c.progress))
    place = func.row_number().over(order_by=latest_first)
    size = func.sum(sum(sizes)).over(order_by=latest_first)
    each = select(jobs.c.job_id, place.label("place"), size.label("size")).where(ours).subquery()
    too_much = select(each.c.job_id).where((each.c.place > KEPT) | (each.c.size > most_bytes))
    return delete(jobs).where(ours, ~ALIVE, jobs.c.job_id.in_(too_much))


def _first(connection: Connection, query: Any) -> Job | None:
    row = connection.execute(query).mappings().first()
    return None if row is None else _job(row)


def _job(row: Mapping[Any, Any]) -> Job:
    given = [name for name in _JSON if row.get(name) is not None]
    return Job(**dict(row) | {name: msgspec.json.decode(row[name]) for name in given})


def _row(job: Job) -> dict[str, Any]:
    values = msgspec.structs.asdict(job)
    given = [name for name in _JSON if values[name] is not None]
    return values | {name: msgspec.json.encode(values[name]) for name in given}
