"""Who is served when: never more at once than there are places, nor all of them at one host."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from agent.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from a2a_state.push_configs import Key, PushConfigRow, PushConfigs
    from agent.push.delivery import Deliveries

logger = logging.getLogger(__name__)

POLL_SECONDS = 5.0
"""How often the database is asked for what other processes left, or changed."""

CLOSE_SECONDS = 3.0
HOST_SHARE = 4
"""One host gets at most one of so many places."""

FORGET_SECONDS = 3600.0
"""How long a configuration may be without its task, which may not have begun; how often it is looked for."""

WATCHED = 100_000
"""Most tasks that are known to have webhooks: news of one that is forgotten is found at the next poll."""


class Dispatch:
    """Looks for configurations with news whenever it is woken, and has them served."""

    def __init__(
        self, configs: PushConfigs, deliveries: Deliveries, places: int, clock: Callable[[], int]
    ) -> None:
        """Nothing runs before ``open``; ``clock`` tells milliseconds since the epoch."""
        self._configs = configs
        self._deliveries = deliveries
        self._places = places
        self._at_one_host = max(1, places // HOST_SHARE)
        self._clock = clock
        self._awake = asyncio.Event()
        self._hosts: Counter[str] = Counter()
        self._jobs: dict[asyncio.Task[float], Key] = {}
        # A dict for its order: the oldest is forgotten first.
        self._watched: dict[str, None] = {}
        self._swept_at = 0
        self._claiming = asyncio.Lock()
        self._closing = False

    def open(self) -> None:
        """Start looking."""
        self._looking = asyncio.create_task(self._look(), name="push")

    def watch(self, task_id: str) -> None:
        """Remember that a task has webhooks."""
        self._watched[task_id] = None
        if len(self._watched) > WATCHED:
            del self._watched[next(iter(self._watched))]

    def wake(self, task_id: str) -> None:
        """Look for news, if the task has webhooks."""
        if task_id in self._watched:
            self._awake.set()

    async def close(self) -> None:
        """Let calls that were begun end, for a moment; the rest is sent after the next start."""
        self._closing = True
        self._awake.set()
        self._deliveries.close()
        await _end([self._looking], CLOSE_SECONDS)
        await _end(list(self._jobs), CLOSE_SECONDS)

    async def stop(self, key: Key) -> None:
        """Break off serving a configuration, in this process."""
        # What was claimed before the configuration changed has become a job when the lock is free.
        async with self._claiming:
            await _end([job for job, each in self._jobs.items() if each == key])
        self._awake.set()

    async def _look(self) -> None:
        while not self._closing:
            self._awake.clear()
            try:
                await self._round()
                await self._sweep()
            except StateError:
                logger.warning("Webhooks cannot be looked after", exc_info=True)
            except Exception:
                # Nobody else looks: whatever is wrong, the next round comes.
                logger.exception("A round of webhooks broke")
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._awake.wait()
            except TimeoutError:
                continue

    async def _round(self) -> None:
        """Fill the places, until there are no more or nobody waits."""
        while (free := self._places - len(self._jobs)) > 0 and not self._closing:
            busy = [host for host, jobs in self._hosts.items() if jobs >= self._at_one_host]
            due = await self._configs.due(self._clock(), free, busy)
            if not due:
                return
            for row in due:
                if self._hosts[row.host] >= self._at_one_host:
                    continue
                async with self._claiming:
                    if claimed := await self._deliveries.claim(row):
                        self._start(claimed)

    def _start(self, row: PushConfigRow) -> None:
        job = asyncio.create_task(self._deliveries.serve(row))
        self._jobs[job] = row.key
        self.watch(row.task_id)
        self._hosts[row.host] += 1
        job.add_done_callback(lambda job: self._ended(job, row.host))

    def _ended(self, job: asyncio.Task[float], host: str) -> None:
        del self._jobs[job]
        self._hosts[host] -= 1
        if not self._hosts[host]:
            del self._hosts[host]
        seconds = 0.0
        if not job.cancelled():
            if error := job.exception():
                logger.warning("A webhook must wait for its lease to run out", exc_info=error)
            else:
                seconds = job.result()
        if seconds < POLL_SECONDS:
            asyncio.get_running_loop().call_later(seconds, self._awake.set)

    async def _sweep(self) -> None:
        now, age = self._clock(), int(FORGET_SECONDS * 1000)
        if now - self._swept_at >= age:
            self._swept_at = now
            await self._configs.forget_orphans(now - age)


async def _end(jobs: Sequence[asyncio.Task[Any]], seconds: float = 0) -> None:
    """Wait until they have ended, for that long; then cancel them."""
    if jobs:
        _, late = await asyncio.wait(jobs, timeout=seconds)
        for job in late:
            job.cancel()
        if late:
            await asyncio.wait(late)
