"""What has been kept for long enough is deleted, by whichever process comes by."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from a2a_state.retention import Purge
from agent.clock import now
from agent.errors import StateError

if TYPE_CHECKING:
    from a2a_state.database import Database
    from agent.settings.retention import Retention as RetentionSettings

logger = logging.getLogger(__name__)

EVERY_SECONDS = 60.0
DAY, HOUR = 86_400_000, 3_600_000


class Purged(msgspec.Struct, frozen=True):
    """How much was deleted."""

    tasks: int = 0
    contexts: int = 0
    message_keys: int = 0
    jobs: int = 0


class Retention:
    """Deletes tasks, contexts, keys of messages and evaluations when their time is up."""

    def __init__(
        self, database: Database, settings: RetentionSettings, *, every: float = EVERY_SECONDS
    ) -> None:
        """Nothing runs before ``open``; ``every`` is the pause after a round, in seconds."""
        self._every = every
        self._purge = Purge(database)
        self._settings = settings

    async def open(self) -> None:
        """Start deleting."""
        self._sweeping = asyncio.create_task(self._sweep_often(), name="retention")

    async def close(self) -> None:
        """Stop; what is being deleted at this moment is deleted, or stays as it was."""
        self._sweeping.cancel()
        await asyncio.gather(self._sweeping, return_exceptions=True)

    async def sweep(self, at: int) -> Purged:
        """Delete what is too old at a moment, in ms since the epoch."""
        keep = self._settings
        tasks = contexts = jobs = 0
        if keep.tasks_days is not None:
            tasks = await self._purge.tasks(at - int(keep.tasks_days * DAY))
        if keep.contexts_days is not None:
            contexts = await self._purge.contexts(at - int(keep.contexts_days * DAY))
        if keep.jobs_days is not None:
            jobs = await self._purge.jobs(at - int(keep.jobs_days * DAY))
        keys = await self._purge.message_keys(at - int(keep.idempotency_hours * HOUR))
        return Purged(tasks, contexts, keys, jobs)

    async def _sweep_often(self) -> None:
        while True:
            try:
                purged = await self.sweep(now())
            except StateError:
                # The next round may find the database again.
                logger.warning("What is too old could not be deleted", exc_info=True)
            else:
                if purged != Purged():
                    logger.info("Deleted what was too old: %s", purged)
            await asyncio.sleep(self._every)
