"""The models that may be trained: those of a folder, and what jobs of the caller have made."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from agent.errors import InvalidParams, ResourceNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from a2a_state.jobs import Job, Jobs

KIND = "training"
"""Of the jobs."""

# A name, or organisation/name; none of the steps is hidden, or leads upwards.
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*(/[A-Za-z0-9][\w.+-]*){0,3}", re.ASCII)
_CONFIG, ADAPTER = "config.json", "adapter_config.json"


class Weights(msgspec.Struct, frozen=True):
    """Where a model lies: whole, or as an adapter of another."""

    base: str
    adapter: str | None = None


class _AdapterConfig(msgspec.Struct):
    base: str = msgspec.field(name="base_model_name_or_path")


class Models:
    """Finds models by name; ``folder`` has whole ones, and ``place`` checkpoints."""

    def __init__(self, jobs: Jobs, folder: Path | None, place: Path) -> None:
        """Nothing is looked at yet."""
        self._jobs = jobs
        self._folder = folder
        self._place = place

    async def find(self, owner: str, tenant: str, name: str) -> Weights:
        """Return where the model lies; raises ``ResourceNotFound``.

        A checkpoint goes by its identifier, and the last one of a job by the job's.
        """
        if self._folder is not None and _NAME.fullmatch(name):
            whole = self._folder / name
            if (whole / _CONFIG).is_file():
                return Weights(str(whole.absolute()))
        for job_id in (name, name.rpartition("-")[0]):
            job = await self._jobs.get(owner, tenant, KIND, job_id)
            if job is not None and (path := self._checkpoint(job, name)) is not None:
                return await asyncio.to_thread(_weights_of, path)
        raise ResourceNotFound("model", name)

    async def only(self) -> str:
        """Return the name of the one model of the folder; raises ``InvalidParams`` when it is not one."""
        names = await asyncio.to_thread(lambda: list(islice(self._names(), 2)))
        if len(names) != 1:
            problem = "must be named: this server has not exactly one model that may be trained"
            raise InvalidParams("model", problem)
        return names[0]

    def _names(self) -> Iterator[str]:
        """Yield the names of the models of the folder."""
        if self._folder is None:
            return
        for folder, below, files in os.walk(self._folder):
            name = Path(folder).relative_to(self._folder).as_posix()
            if name != "." and not _NAME.fullmatch(name):
                below.clear()
            elif name != "." and _CONFIG in files:
                below.clear()
                yield name

    def _checkpoint(self, job: Job, name: str) -> Path | None:
        """Return the folder of a job's checkpoint of that identifier, or of its last one."""
        paths = {each["identifier"]: each["path"] for each in checkpoints_of(job)}
        last = next(reversed(paths.values()), None) if name == job.job_id else None
        path = paths.get(name, last)
        return self._place / path if path and (self._place / path).is_dir() else None


def checkpoints_of(job: Job) -> list[Any]:
    """Return the checkpoints of a job as they were kept: paths are relative to the folder of all."""
    kept = job.result or job.progress or {}
    checkpoints: list[Any] = kept.get("checkpoints", [])
    return checkpoints


def _weights_of(checkpoint: Path) -> Weights:
    """Return a checkpoint as it is loaded: one that is an adapter says of what."""
    config = checkpoint / ADAPTER
    path = str(checkpoint.absolute())
    if not config.is_file():
        return Weights(path)
    return Weights(msgspec.json.decode(config.read_bytes(), type=_AdapterConfig).base, path)


def folder_of_owner(owner: str, tenant: str) -> str:
    """Return the name of the folder of an owner's jobs: nothing of what callers chose is in it."""
    return _digest(f"{len(owner)}:{owner}{tenant}")


def folder_of_job(job_id: str) -> str:
    """Return the name of a job's folder."""
    return _digest(job_id)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
