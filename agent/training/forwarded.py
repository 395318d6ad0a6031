"""Post-training by a Llama Stack that has it: its jobs, and this server knows whose they are."""

from __future__ import annotations

import re
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import msgspec

from a2a_state.forwarded import Theirs
from agent.clock import now
from agent.errors import (
    InvalidParams,
    NotProvided,
    RequestError,
    ResourceNotFound,
    StackError,
    TooManyTasks,
)
from agent.stacks.agents_api_wire import read
from agent.stacks.forward import About, Taken
from agent.training.request import PreferenceOptimizeRequest, SupervisedFineTuneRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from a2a_state.forwarded import Forwarded
    from agent.caller import Caller
    from agent.stacks.forward import Forward
    from agent.training.base import Json

TRAINING = "/v1alpha/post-training"
DATASETS = "/v1beta/datasets"
ROWS_BYTES = 32 * 1024 * 1024
"""How much of a dataset is taken to the Llama Stack, in bytes of its rows as JSON."""

JOBS = 10_000
_NAMESPACE = uuid.UUID("0b0f6c0e-6c8e-4a3c-9d6a-6f1c7a3c2f51")
RETRY_AFTER_SECONDS = 30
BEGINNING_MS = 10 * 60 * 1000
"""How long a job may be unknown to the Llama Stack since it is to get it."""
_KEYS = ("dataset_id", "validation_dataset_id")
# What the Llama Stack gets. Where checkpoints are written is for it to say, and a model is no path on its
# disk: organisation/name, with the provider before it or not.
_SENT = (
    SupervisedFineTuneRequest.model_fields.keys() | PreferenceOptimizeRequest.model_fields.keys()
) - {"checkpoint_dir"}
_MODEL = re.compile(r"[A-Za-z0-9][\w.:+-]*(/[A-Za-z0-9][\w.:+-]*){0,2}", re.ASCII)
_ENDED = frozenset({"completed", "failed", "cancelled"})


class Rows(Protocol):
    """What ``Datasets`` does, as far as it is needed here."""

    async def get(self, caller: Caller, dataset_id: str, /) -> Json:
        """Return a dataset; raises ``ResourceNotFound``."""

    def pages(self, caller: Caller, dataset_id: str, /) -> AsyncIterator[Sequence[Json]]:
        """Yield all rows, page by page."""


class ForwardedTraining:
    """``PostTrainingApi`` by forwarding.

    The server gets an id of a job that is made of the caller's and of who the caller is: those of
    different callers do not meet. It does not know our datasets: it gets a copy of those of a job, which
    is deleted once the job is seen to have ended: with whatever its owner asks about it, or about all.
    """

    def __init__(self, forward: Forward, store: Forwarded, datasets: Rows, most: int) -> None:
        """Keep them, opened by others; ``most`` jobs of an owner may not have ended."""
        self._forward = forward
        self._store = store
        self._datasets = datasets
        self._most = most

    async def supervised_fine_tune(self, caller: Caller, body: Json) -> Json:
        """See ``PostTrainingApi``."""
        return await self._begin(caller, "supervised-fine-tune", body)

    async def preference_optimize(self, caller: Caller, body: Json) -> Json:
        """See ``PostTrainingApi``."""
        return await self._begin(caller, "preference-optimize", body)

    async def list(self, caller: Caller) -> Json:
        """See ``PostTrainingApi``; jobs that the server has forgotten are not there any more."""
        mine = await self._store.list(_theirs(caller), "training_job", None, 0, JOBS)
        listed = await self._forward.call("GET", f"{TRAINING}/jobs", About("job", ""))
        there = {job.job_uuid for job in read(listed, _Jobs).data}
        await self._look(caller)
        return {"data": [{"job_uuid": job.parent_id} for job in mine if job.remote_id in there]}

    async def status(self, caller: Caller, job_uuid: str) -> Json:
        """See ``PostTrainingApi``."""
        found = await self._get(caller, job_uuid, "status")
        if found.get("status") in _ENDED:
            await self._end(caller, job_uuid)
        return found

    async def artifacts(self, caller: Caller, job_uuid: str) -> Json:
        """See ``PostTrainingApi``."""
        found = await self._get(caller, job_uuid, "artifacts")
        await self._look(caller)
        return found

    async def cancel(self, caller: Caller, job_uuid: str) -> None:
        """See ``PostTrainingApi``."""
        remote, about = await self._owned(caller, job_uuid)
        try:
            path = f"{TRAINING}/job/cancel"
            await self._forward.call("POST", path, about, json={"job_uuid": remote})
        except NotProvided as exc:
            said = "The Llama Stack behind this server cannot cancel training jobs."
            raise NotProvided(said) from exc

    async def _begin(self, caller: Caller, operation: str, body: Json) -> Json:
        job_uuid = str(body["job_uuid"])
        remote, whose = _remote(caller, job_uuid), _theirs(caller)
        about = About("job_uuid", job_uuid)
        _check_model(body)
        if await self._is_there(caller, job_uuid):
            raise InvalidParams("job_uuid", f"{job_uuid} exists already")
        await self._look(caller)
        await self._end(caller, job_uuid)
        # Before it begins: when no answer comes, it may have begun all the same.
        if not await self._store.add_job(whose, remote, job_uuid, self._most):
            raise TooManyTasks(RETRY_AFTER_SECONDS)
        try:
            config = await self._with_copies(caller, remote, body["training_config"])
            sent = {name: body[name] for name in body if name in _SENT}
            sent |= {"job_uuid": remote, "training_config": config}
            await self._forward.call("POST", f"{TRAINING}/{operation}", about, json=sent)
        except RequestError as exc:
            await self._end(caller, job_uuid)
            if not isinstance(exc, Taken):
                await self._store.remove(whose, "training_job", [remote], job_uuid)
            raise
        return {"job_uuid": job_uuid}

    async def _is_there(self, caller: Caller, job_uuid: str) -> bool:
        try:
            await self._get(caller, job_uuid, "status")
        except ResourceNotFound:
            return False
        return True

    async def _with_copies(self, caller: Caller, remote: str, config: Json) -> Json:
        """Return a ``TrainingConfig`` that names copies of the caller's datasets."""
        data = dict(config.get("data_config") or {})
        for key in _KEYS:
            if data.get(key):
                data[key] = await self._copy(caller, remote, str(data[key]))
        return config | {"data_config": data} if data else config

    async def _copy(self, caller: Caller, remote: str, dataset_id: str) -> str:
        """Register the rows of a dataset; returns its id there."""
        dataset = await self._datasets.get(caller, dataset_id)
        rows: list[Json] = []
        size = 0
        async for page in self._datasets.pages(caller, dataset_id):
            size += len(msgspec.json.encode(page))
            if size > ROWS_BYTES:
                problem = (
                    f"{dataset_id} is larger than {ROWS_BYTES} bytes, too large to be taken along"
                )
                raise InvalidParams("training_config.data_config", problem)
            rows += page
        copy = str(uuid.uuid4())
        await self._store.add(_theirs(caller), "training_dataset", copy, remote)
        body = {
            "dataset_id": copy,
            "purpose": dataset["purpose"],
            "source": {"type": "rows", "rows": rows},
        }
        await self._forward.call("POST", DATASETS, About("dataset", dataset_id), json=body)
        return copy

    async def _look(self, caller: Caller) -> None:
        """Clear up after those jobs of the caller's that have ended meanwhile."""
        running = await self._store.list(_theirs(caller), "training_running", None, 0, self._most)
        for job in running:
            with suppress(StackError):
                try:
                    found = await self._get(caller, job.parent_id, "status")
                except ResourceNotFound:
                    has_ended = now() - job.created_at > BEGINNING_MS
                else:
                    has_ended = found.get("status") in _ENDED
                if has_ended:
                    await self._end(caller, job.parent_id)

    async def _end(self, caller: Caller, job_uuid: str) -> None:
        """Leave nothing of what a job needed while it ran; what cannot be deleted is left for later."""
        remote = _remote(caller, job_uuid)
        if await self._clear(caller, remote):
            await self._store.remove(_theirs(caller), "training_running", [remote], job_uuid)

    async def _clear(self, caller: Caller, remote: str) -> bool:
        """Delete the copies that a job has had; returns whether all are gone."""
        whose = _theirs(caller)
        copies = await self._store.list(whose, "training_dataset", remote, 0, 2 * len(_KEYS))
        try:
            for each in copies:
                with suppress(ResourceNotFound):
                    path, about = f"{DATASETS}/{each.remote_id}", About("dataset", each.remote_id)
                    await self._forward.call("DELETE", path, about)
                await self._store.remove(whose, "training_dataset", [each.remote_id], remote)
        except StackError:
            return False
        return True

    async def _get(self, caller: Caller, job_uuid: str, what: str) -> dict[str, Json]:
        """Return what the server says of a job, under the caller's id."""
        remote, about = await self._owned(caller, job_uuid)
        path = f"{TRAINING}/job/{what}"
        found = await self._forward.call("GET", path, about, params={"job_uuid": remote})
        if not isinstance(found, dict):  # others answer null for one that is not there
            raise ResourceNotFound(*about)
        return found | {"job_uuid": job_uuid}

    async def _owned(self, caller: Caller, job_uuid: str) -> tuple[str, About]:
        """Return the server's id of a job of the caller's."""
        remote, about = _remote(caller, job_uuid), About("job", job_uuid)
        if not await self._store.owns(_theirs(caller), "training_job", remote, job_uuid):
            raise ResourceNotFound(*about)
        return remote, about


class _Job(msgspec.Struct):
    job_uuid: str


class _Jobs(msgspec.Struct):
    data: list[_Job]


def _check_model(body: Json) -> None:
    for field in ("model", "finetuned_model"):
        if body.get(field) is not None and not _MODEL.fullmatch(str(body[field])):
            raise InvalidParams(field, "must be the name of a model, and no path")


def _theirs(caller: Caller) -> Theirs:
    return Theirs(caller.owner, caller.tenant)


def _remote(caller: Caller, job_uuid: str) -> str:
    """Return the id of a caller's job that the server gets."""
    name = msgspec.json.encode([caller.owner, caller.tenant, job_uuid]).decode()
    return str(uuid.uuid5(_NAMESPACE, name))
