"""Jobs: one process runs each, another goes on when that stops, and all may cancel."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, override

import anyio
import msgspec
import pytest
from sqlalchemy import insert

from a2a_state.job_table import jobs as table
from a2a_state.jobs import KEPT, Job, Jobs, outdated
from agent.clock import now
from agent.errors import ServerStopping, StateUnavailable, TaskTaken, TooManyTasks
from agent.jobs.progress import JobFailed, Progress
from agent.jobs.runner import ATTEMPTS, BROKEN, CLEAN_UP_SECONDS, NEVER_ENDS, JobRunner
from tests.fakes.engine import until
from tests.fakes.state import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from a2a_state.database import Database

pytestmark = pytest.mark.anyio

KIND = "eval"
LATER = 10**9


def job(job_id: str = "job", **changes: Any) -> Job:
    """Return a new job of owner "ann"."""
    made = Job(owner="ann", tenant="", kind=KIND, job_id=job_id, request={"n": 1}, created_at=now())
    return msgspec.structs.replace(made, **changes)


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    """Return a database in memory."""
    async with open_database("sqlite://") as opened:
        yield opened


@pytest.fixture
def jobs(database: Database) -> Jobs:
    """Return what keeps jobs."""
    return Jobs(database)


class Work:
    """What runners do: notes who began, says ``result``, or waits until it is let go."""

    def __init__(self, result: Any = "done", *, waits: bool = False) -> None:
        self.result = result
        self.began: list[str] = []
        self.saved: list[Any] = []
        self.stopped: list[str] = []
        self.running: dict[str, int] = {}
        self.most = 0
        self.has_begun = asyncio.Event()
        self.has_stopped = asyncio.Event()
        self.go = asyncio.Event()
        if not waits:
            self.go.set()

    async def __call__(self, given: Job, progress: Progress) -> Any:
        """Do it."""
        name = given.job_id
        self.began.append(name)
        self.saved.append(progress.saved)
        self.running[name] = self.running.get(name, 0) + 1
        self.most = max(self.most, self.running[name])
        try:
            if progress.saved is None:
                await progress.save({"step": 1})
            self.has_begun.set()
            await self.go.wait()
        except asyncio.CancelledError:
            self.stopped.append(name)
            self.has_stopped.set()
            raise
        finally:
            self.running[name] -= 1
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@asynccontextmanager
async def running(
    jobs: Jobs, work: Any, lease_seconds: float = 30.0, clean_up_seconds: float = CLEAN_UP_SECONDS
) -> AsyncIterator[JobRunner]:
    """Run jobs."""
    runner = JobRunner(
        jobs,
        KIND,
        work,
        running=2,
        lease_seconds=lease_seconds,
        clean_up_seconds=clean_up_seconds,
    )
    await runner.open()
    try:
        yield runner
    finally:
        await runner.close()


async def ended(jobs: Jobs, job_id: str = "job") -> Job:
    """Return a job once it has ended."""
    found: Job | None = None

    async def is_over() -> bool:
        nonlocal found
        found = await jobs.get("ann", "", KIND, job_id)
        return found is None or found.ended_at is not None

    with anyio.fail_after(20):
        await until(is_over)
    assert found is not None
    return found


async def test_a_job_is_run_and_its_result_kept(jobs: Jobs) -> None:
    async with running(jobs, Work({"answer": 42})) as runner:
        await jobs.add(job(), 20)
        runner.wake()
        found = await ended(jobs)

    assert (found.state, found.result, found.request) == ("completed", {"answer": 42}, {"n": 1})
    assert found.progress is None
    assert found.started_at is not None


async def test_who_never_began_may_stop(jobs: Jobs) -> None:
    await JobRunner(jobs, KIND, Work(), running=1).close()


@pytest.mark.parametrize(
    ("error", "told"),
    [(JobFailed("No such\0row."), "No such row."), (ValueError("secret"), BROKEN)],
)
async def test_a_job_that_fails_says_why_in_words_of_ours(
    jobs: Jobs, error: Exception, told: str
) -> None:
    await jobs.add(job(), 20)
    async with running(jobs, Work(error)):
        found = await ended(jobs)
    assert (found.state, found.error, found.result) == ("failed", told, None)


@pytest.mark.parametrize("result", [object(), "\ud800"])
async def test_a_result_that_is_no_json_fails_the_job(jobs: Jobs, result: Any) -> None:
    await jobs.add(job(), 20)
    async with running(jobs, Work(result)):
        assert (await ended(jobs)).error == BROKEN


async def test_a_job_whose_process_died_is_gone_on_with_from_what_it_saved(jobs: Jobs) -> None:
    await jobs.add(job(), 20)
    dead = await jobs.claim(KIND, "dead", now(), now() - 1)
    assert dead is not None
    assert await jobs.save(dead, {"step": 7})

    work = Work()
    async with running(jobs, work):
        assert (await ended(jobs)).state == "completed"

    assert work.saved == [{"step": 7}]
    assert not await jobs.settle(dead, "failed", now(), error="too late")
    with pytest.raises(TaskTaken):
        await Progress(jobs, dead).save({"step": 8})


async def test_another_process_can_cancel_what_runs_here(jobs: Jobs) -> None:
    work = Work(waits=True)
    async with running(jobs, work), running(jobs, Work()) as other:
        await jobs.add(job(), 20)
        await work.has_begun.wait()
        marked = await jobs.cancel("ann", "", KIND, "job", now())
        assert marked is not None
        assert marked.state == "in_progress"
        other.cancel(marked.key)
        found = await ended(jobs)

    assert (found.state, found.result) == ("cancelled", None)
    assert work.stopped == ["job"]
    again = await jobs.cancel("ann", "", KIND, "job", now())
    assert again == msgspec.structs.replace(found, progress=None)


class Tidy(Work):
    """Work that takes something back when it is stopped, once it is ``tidied`` to."""

    def __init__(self) -> None:
        super().__init__(waits=True)
        self.tidied = asyncio.Event()
        self.is_tidy = False

    @override
    async def __call__(self, given: Job, progress: Progress) -> Any:
        """Do it."""
        try:
            return await super().__call__(given, progress)
        finally:
            await self.tidied.wait()
            self.is_tidy = True


async def test_a_job_that_is_canceled_again_and_again_takes_back_what_it_made(jobs: Jobs) -> None:
    await jobs.add(job(), 20)
    work = Tidy()
    async with running(jobs, work) as runner:
        await work.has_begun.wait()
        marked = await jobs.cancel("ann", "", KIND, "job", now())
        assert marked is not None
        for _ in range(3):
            runner.cancel(marked.key)
            await anyio.wait_all_tasks_blocked()
        found = await jobs.get("ann", "", KIND, "job")
        assert found is not None
        assert (found.state, work.is_tidy) == ("in_progress", False)
        work.tidied.set()
        assert (await ended(jobs)).state == "cancelled"
    assert work.is_tidy


async def test_a_job_that_does_not_stop_is_not_waited_for_for_ever(jobs: Jobs) -> None:
    await jobs.add(job(), 20)
    work = Tidy()
    async with running(jobs, work, clean_up_seconds=0.05) as runner:
        await work.has_begun.wait()
        marked = await jobs.cancel("ann", "", KIND, "job", now())
        assert marked is not None
        runner.cancel(marked.key)
        assert (await ended(jobs)).state == "cancelled"
    assert not work.is_tidy


class Slow(Jobs):
    """A state in which a claim is committed when the server is stopping already."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.has_claimed = asyncio.Event()
        self.go = asyncio.Event()

    @override
    async def claim(self, kind: str, holder: str, now: int, until: int) -> Job | None:
        """Claim, and wait."""
        claimed = await super().claim(kind, holder, now, until)
        self.has_claimed.set()
        await self.go.wait()
        return claimed


async def test_a_job_that_is_claimed_while_the_server_stops_is_another_s_at_once(
    database: Database, jobs: Jobs
) -> None:
    await jobs.add(job(), 20)
    slow, work = Slow(database), Work()
    async with anyio.create_task_group() as group, running(slow, work):
        await slow.has_claimed.wait()

        async def go() -> None:
            await anyio.wait_all_tasks_blocked()
            slow.go.set()

        group.start_soon(go)
    claimed = await jobs.claim(KIND, "other", now(), LATER)
    assert claimed is not None
    assert (claimed.fence, work.began) == (2, [])


async def test_a_job_that_nobody_runs_is_canceled_at_once(jobs: Jobs) -> None:
    await jobs.add(job(), 20)
    canceled = await jobs.cancel("ann", "", KIND, "job", now())
    assert canceled is not None
    assert canceled.state == "cancelled"
    assert await jobs.claim(KIND, "here", now(), LATER) is None
    assert await jobs.cancel("bob", "", KIND, "job", now()) is None


async def test_a_server_that_stops_gives_its_jobs_to_another_at_once(jobs: Jobs) -> None:
    await jobs.add(job(), 20)
    first, second = Work(waits=True), Work()
    async with running(jobs, first):
        await first.has_begun.wait()
    async with running(jobs, second):
        found = await ended(jobs)

    assert (found.state, found.fence) == ("completed", 2)
    assert (first.stopped, second.saved) == (["job"], [{"step": 1}])


async def test_who_lost_a_job_stops_it_and_writes_nothing(jobs: Jobs) -> None:
    await jobs.add(job(), 20)
    work = Work(waits=True)
    async with running(jobs, work, lease_seconds=0.3):
        await work.has_begun.wait()
        other = await jobs.claim(KIND, "other", now() + LATER, now() + LATER)
        assert other is not None
        with anyio.fail_after(5):
            await work.has_stopped.wait()
    found = await jobs.get("ann", "", KIND, "job")
    assert found is not None
    assert (found.state, found.lease_holder) == ("in_progress", "other")
    assert await jobs.renew(other, now() + LATER)


class Mute(Jobs):
    """A state that is away when a sign of life is to be given."""

    @override
    async def renew(self, job: Job, until: int) -> bool:
        """Fail."""
        raise StateUnavailable


async def test_who_can_give_no_sign_of_life_stops_before_another_may_begin(
    database: Database, jobs: Jobs
) -> None:
    await jobs.add(job(), 20)
    work = Work(waits=True)
    async with running(Mute(database), work, lease_seconds=0.3):
        with anyio.fail_after(5):
            await work.has_stopped.wait()
        found = await jobs.get("ann", "", KIND, "job")
    assert found is not None
    assert (found.state, found.fence) == ("in_progress", 1)


async def test_a_job_that_ends_whoever_runs_it_is_given_up(jobs: Jobs) -> None:
    await jobs.add(job(fence=ATTEMPTS, state="in_progress"), 20)
    work = Work()
    async with running(jobs, work):
        found = await ended(jobs)
    assert (found.state, found.error, work.began) == ("failed", NEVER_ENDS, [])


async def test_a_job_that_could_not_be_tried_is_left_to_another(jobs: Jobs) -> None:
    await jobs.add(job(), 20)
    work = Work(ServerStopping(1))
    async with running(jobs, work):
        await work.has_begun.wait()
    found = await jobs.get("ann", "", KIND, "job")
    assert found is not None
    assert found.ended_at is None


async def test_a_caller_has_so_many_jobs_that_go_on_and_ids_of_their_own(jobs: Jobs) -> None:
    assert await jobs.add(job("a"), 2)
    assert not await jobs.add(job("a"), 2)
    assert await jobs.claim(KIND, "here", now(), LATER) is not None
    assert await jobs.add(job("b", subject="bm"), 2)
    with pytest.raises(TooManyTasks):
        await jobs.add(job("c"), 2)
    assert await jobs.add(job("a", tenant="other"), 2)
    assert await jobs.add(job("a", owner="bob"), 2)
    assert await jobs.add(job("a", kind="training"), 2)

    assert [each.job_id for each in await jobs.list("ann", "", KIND)] == ["a", "b"]
    assert [each.job_id for each in await jobs.list("ann", "", KIND, "bm")] == ["b"]
    assert await jobs.get("ann", "elsewhere", KIND, "a") is None


async def test_the_oldest_jobs_that_have_ended_make_room(database: Database, jobs: Jobs) -> None:
    same = msgspec.structs.asdict(job()) | {"request": b"{}"}
    old = [
        same | {"job_id": f"old-{number}", "created_at": number, "ended_at": number or None}
        for number in range(KEPT + 1)
    ]
    await database.write(lambda c: c.execute(insert(table), old))
    await jobs.add(job("new"), KEPT * 2)

    kept = [each.job_id for each in await jobs.list("ann", "", KIND)]
    assert kept[:2] == ["old-0", "old-2"]
    assert kept[-1] == "new"


async def test_results_that_are_large_together_make_room(database: Database, jobs: Jobs) -> None:
    same = msgspec.structs.asdict(job()) | {"request": b"{}"}
    large = [
        same | {"job_id": f"{number}", "created_at": number, "ended_at": 1, "result": b"[]" * 10}
        for number in range(3)
    ]
    await database.write(lambda c: c.execute(insert(table), large))
    await database.write(lambda c: c.execute(outdated(job(), most_bytes=40)))

    assert [each.job_id for each in await jobs.list("ann", "", KIND)] == ["1", "2"]


async def test_the_jobs_of_who_has_few_come_before_those_of_who_has_many(jobs: Jobs) -> None:
    for name in ("a", "b", "c"):
        await jobs.add(job(name), 20)
    at = now() + 1
    await jobs.add(job("late", owner="bob", created_at=at), 20)

    claimed = [await jobs.claim(KIND, "here", at, LATER + at) for _ in range(4)]

    assert [each.job_id for each in claimed if each is not None] == ["a", "late", "b", "c"]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_two_processes_never_run_a_job_at_the_same_time(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres_url")
    names = [f"job-{number}" for number in range(8)]
    async with open_database(url) as one, open_database(url) as two:
        ours, theirs = Jobs(one), Jobs(two)
        for name in names:
            await ours.add(job(name), 20)
        work = Work()
        async with running(ours, work), running(theirs, work):
            for name in names:
                assert (await ended(ours, name)).fence == 1
        assert (sorted(work.began), work.most) == (names, 1)
        assert await theirs.cancel("ann", "", KIND, "job-1", now()) is not None
