"""Runs jobs of one kind: each by one process at a time, and by another when that one died."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from a2a_state.jobs import CANCELLED, COMPLETED, FAILED
from agent.clock import now
from agent.errors import AgentError, ServerStopping, StateError, StateUnavailable, TaskTaken
from agent.jobs.progress import Progress
from agent.lease import LEASE_SECONDS, Holder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from a2a_state.jobs import Job, JobKey, Jobs

    type Work = Callable[[Job, Progress], Awaitable[Any]]

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""How often to look whether another process wants a job canceled that runs here."""

IDLE_SECONDS = 2.0
"""How often to look for jobs that another process was given, or gave up."""

CLEAN_UP_SECONDS = 30.0
"""How long a job may take to stop: what it made has to be taken back."""

STOP_SECONDS = 10.0
"""The same when the server stops."""

LAST_SECONDS = 1.0
"""How long to wait for what is stopped for the second time."""

ATTEMPTS = 20
"""How often a job is taken up before it is taken for one that ends whoever runs it."""

REASON_CHARS = 4096
BROKEN = "An internal error ended the job."
NEVER_ENDS = "The server stopped again and again while it ran this job."

_CANCELED, _LOST, _STOPPED, _HOPELESS = "canceled", "lost", "stopped", "hopeless"


class _Running:
    """A job that runs here; ``stop`` is why it was told to stop, if it was."""

    def __init__(self, job: Job, work: asyncio.Future[Any], leased_until: int) -> None:
        self.job = job
        self.work = work
        self.leased_until = leased_until
        self.stop = ""
        self._told = asyncio.Event()

    def give_up(self, why: str) -> None:
        """Have it stop; the first reason counts, but that another runs it outweighs all.

        It is stopped once: to be stopped again would interrupt its taking back what it made.
        """
        if not self.stop:
            self.work.cancel()
            self._told.set()
        if not self.stop or why == _LOST:
            self.stop = why

    async def end(self, seconds: float) -> None:
        """Wait until the work has ended: for so long at most once it was told to stop."""
        told = asyncio.ensure_future(self._told.wait())
        try:
            await asyncio.wait({self.work, told}, return_when=asyncio.FIRST_COMPLETED)
            if (await asyncio.wait({self.work}, timeout=seconds))[1]:
                self.work.cancel()
                await asyncio.wait({self.work}, timeout=LAST_SECONDS)
        finally:
            told.cancel()


class JobRunner:
    """Claims jobs, gives signs of life for them, and writes down how they end.

    ``work`` returns the result of a job. What it raises that is an ``AgentError`` is why the job
    failed. A job that was taken over runs again, with the progress that was saved.
    """

    def __init__(
        self,
        jobs: Jobs,
        kind: str,
        work: Work,
        *,
        running: int,
        lease_seconds: float = LEASE_SECONDS,
        clean_up_seconds: float = CLEAN_UP_SECONDS,
    ) -> None:
        """Run as many as ``running`` at once; nothing runs before ``open``."""
        self._jobs = jobs
        self._kind = kind
        self._work = work
        self._most = running
        self._holder = Holder(lease_seconds)
        self._clean_up_seconds = clean_up_seconds
        self._stopping = asyncio.Event()
        self._running: dict[JobKey, _Running] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._looking: set[asyncio.Task[None]] = set()
        self._caring: list[asyncio.Task[None]] = []
        self._woken = asyncio.Event()

    async def open(self) -> None:
        """Start running jobs."""
        name = f"{self._kind} jobs"
        rounds = ((self._renew, self._holder.seconds / 3), (self._listen, LOOK_SECONDS))
        self._looking = {asyncio.create_task(self._look(), name=name)}
        self._caring = [
            asyncio.create_task(self._repeat(work, seconds), name=name) for work, seconds in rounds
        ]

    async def close(self) -> None:
        """Stop; what runs is released, so that another process goes on with it at once.

        Safe to call when nothing was opened.
        """
        self._stopping.set()
        self.wake()
        # Not canceled where it is: a claim that is committed just then would be held by nobody.
        await _ended(self._looking, STOP_SECONDS)
        for caring in self._caring:
            caring.cancel()
        await asyncio.gather(*self._caring, return_exceptions=True)
        for running in self._running.values():
            running.give_up(_STOPPED)
        # The leases of those that do not end run out by themselves.
        await _ended(self._ending, STOP_SECONDS)

    def wake(self) -> None:
        """Look for jobs now: there is a new one."""
        self._woken.set()

    def cancel(self, key: JobKey) -> None:
        """Cancel a job if it runs here; who asks for that has marked it in the state already."""
        if (running := self._running.get(key)) is not None:
            running.give_up(_CANCELED)

    async def _look(self) -> None:
        while not self._stopping.is_set():
            await self._care(self._claim)
            await self._sleep()

    async def _repeat(self, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        while True:
            await self._care(work)
            await asyncio.sleep(seconds)

    async def _care(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except StateError:
            logger.warning("The %s jobs cannot be looked into", self._kind, exc_info=True)
        except Exception:
            # Nobody else cares for the jobs: whatever is wrong, the next round comes.
            logger.exception("A round of caring for %s jobs broke", self._kind)

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(min(IDLE_SECONDS, self._holder.seconds / 3)):
                await self._woken.wait()
        except TimeoutError:
            return
        if not self._stopping.is_set():
            self._woken.clear()

    async def _claim(self) -> None:
        while len(self._running) < self._most and not self._stopping.is_set():
            until = self._holder.until()
            job = await self._jobs.claim(self._kind, self._holder.name, now(), until)
            if job is None:
                return
            if self._stopping.is_set():
                await self._jobs.release(job)
            else:
                self._start(job, until)

    def _start(self, job: Job, until: int) -> None:
        if job.fence > 1:
            logger.warning("Took over the %s job %s", job.kind, job.job_id)
        work = asyncio.ensure_future(self._work(job, Progress(self._jobs, job)))
        running = self._running[job.key] = _Running(job, work, until)
        if job.fence > ATTEMPTS:
            running.give_up(_HOPELESS)
        if job.cancel_at is not None:
            running.give_up(_CANCELED)
        ending = asyncio.create_task(self._see_through(running), name=f"job {job.job_id}")
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _see_through(self, running: _Running) -> None:
        """Wait for the end of a job, and write it down: canceling the work does not touch this.

        Where there is no end, as the state was away or the server stops, the lease runs out, and the job
        goes on from what was saved.
        """
        job = running.job
        try:
            await running.end(self._clean_up_seconds)
            await self._settle(running)
        except StateError:
            logger.warning("How the job %s ended cannot be stored", job.job_id, exc_info=True)
        finally:
            running.work.cancel()
            if self._running.get(job.key) is running:
                del self._running[job.key]
            self.wake()

    async def _settle(self, running: _Running) -> None:
        job, work = running.job, running.work
        has_ended = work.done() and not work.cancelled()
        error = work.exception() if has_ended else None
        if running.stop == _LOST or isinstance(error, TaskTaken):
            return
        if running.stop == _CANCELED:
            await self._jobs.settle(job, CANCELLED, now())
        elif running.stop == _HOPELESS:
            await self._jobs.settle(job, FAILED, now(), error=NEVER_ENDS)
        elif has_ended and error is None:
            await self._complete(job, work.result())
        elif running.stop == _STOPPED:
            await self._jobs.release(job)
        elif not isinstance(error, StateUnavailable | ServerStopping):
            await self._jobs.settle(job, FAILED, now(), error=self._reason(job, error))

    async def _complete(self, job: Job, result: Any) -> None:
        try:
            await self._jobs.settle(job, COMPLETED, now(), result=result)
        except (TypeError, ValueError) as exc:
            # It cannot be written as JSON: it could not be the next time either.
            await self._jobs.settle(job, FAILED, now(), error=self._reason(job, exc))

    def _reason(self, job: Job, error: BaseException | None) -> str:
        """Return what is said of a job that failed; the log has the cause."""
        if isinstance(error, AgentError):
            logger.info("The %s job %s failed", job.kind, job.job_id, exc_info=error)
            return error.message.replace("\0", " ")[:REASON_CHARS]
        logger.error("The %s job %s broke", job.kind, job.job_id, exc_info=error)
        return BROKEN

    async def _renew(self) -> None:
        for running in list(self._running.values()):
            until = self._holder.until()
            try:
                is_ours = await self._jobs.renew(running.job, until)
            except StateError:
                logger.warning("No sign of life for the job %s", running.job.job_id, exc_info=True)
                # Another may have it by the next round: then two would run it.
                is_ours = now() + self._holder.seconds * 1000 / 3 < running.leased_until
            else:
                running.leased_until = until
            if not is_ours:
                running.give_up(_LOST)

    async def _listen(self) -> None:
        if self._running:
            for key in await self._jobs.to_cancel(self._kind, self._holder.name):
                self.cancel(key)


async def _ended(tasks: set[asyncio.Task[None]], seconds: float) -> None:
    """Wait for tasks, cancel what does not end in time, and wait for that."""
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=seconds)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=LAST_SECONDS)
