"""The folder that a job has for as long as one process runs it, and what stays of it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from agent.jobs.progress import JobFailed
from agent.training.examples import TRAIN, VALIDATION
from agent.training.process import LOG
from agent.training.told import Work, write
from agent.training.weights import folder_of_job, folder_of_owner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from a2a_state.jobs import Job
    from agent.training.plan import Plan
    from agent.training.weights import Weights

logger = logging.getLogger(__name__)

TOLD_LINES = 20
"""How much of its log is told of a training that failed."""

_ONLY_OURS = 0o700
_CHECKPOINT = "checkpoint-"


class Attempt:
    """Makes the folder; once the block is left, it has the checkpoints that were kept, and the log.

    Without a checkpoint nothing stays.
    """

    def __init__(self, place: Path, job: Job) -> None:
        """``place`` is the folder of all owners."""
        self.folder = _folder(place, job) / secrets.token_hex(4)
        self._place = place
        self._job = job
        self._kept: set[str] = set()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(clear, self._place, self._job)
        self.folder.mkdir(mode=_ONLY_OURS, parents=True)
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        # Whoever does not wait for it does not stop it.
        await asyncio.shield(asyncio.to_thread(self._leave, isinstance(error, JobFailed)))

    def _leave(self, has_failed: bool) -> None:
        if has_failed and (lines := _log_of(self.folder)):
            logger.warning("The log of the training %s ended: %r", self._job.job_id, lines)
        _tidy(self.folder, self._kept.__contains__)

    def work(self, plan: Plan, weights: Weights, resume: Path | None, *, validates: bool) -> bytes:
        """Return what the worker is told."""
        work = Work(
            plan=plan,
            base=weights.base,
            adapter=weights.adapter,
            resume=None if resume is None else str(resume),
            output=str(self.folder),
            train=str(self.folder / TRAIN),
            validation=str(self.folder / VALIDATION) if validates else None,
        )
        return write(work)

    def keep(self, name: str) -> str:
        """Keep a checkpoint; returns its path, from the folder of all owners on."""
        self._kept.add(name)
        return (self.folder / name).relative_to(self._place).as_posix()


def clear(place: Path, job: Job) -> None:
    """Remove what attempts at a job have left that could not do so themselves, but for checkpoints."""
    for attempt in _folder(place, job).glob("*/"):
        _tidy(attempt, lambda name: name.startswith(_CHECKPOINT))


def _folder(place: Path, job: Job) -> Path:
    return place / folder_of_owner(job.owner, job.tenant) / folder_of_job(job.job_id)


def _tidy(attempt: Path, is_kept: Callable[[str], bool]) -> None:
    """Remove from a folder what is not to be kept, and the folder where nothing is."""
    there = list(attempt.iterdir()) if attempt.is_dir() else []
    kept = {path.name for path in there if is_kept(path.name)}
    if kept:
        kept.add(LOG)
    for path in there:
        if path.name in kept:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    for folder in (attempt, attempt.parent):
        with suppress(OSError):
            folder.rmdir()


def _log_of(attempt: Path) -> list[str]:
    """Return the last lines of a log."""
    try:
        return (attempt / LOG).read_text(errors="replace").splitlines()[-TOLD_LINES:]
    except OSError:
        return []
