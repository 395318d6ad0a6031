"""Who trains: the Llama Stack, where it has the API, or this server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.engines.told import tell

if TYPE_CHECKING:
    from agent.caller import Caller
    from agent.engines.engines import Engines
    from agent.training.base import Json, PostTrainingApi


class ChosenTraining:
    """Both behind one protocol, by the table of engines."""

    def __init__(self, own: PostTrainingApi, forwarded: PostTrainingApi, engines: Engines) -> None:
        """Keep them."""
        self._own = own
        self._forwarded = forwarded
        self._engines = engines

    async def supervised_fine_tune(self, caller: Caller, body: Json) -> Json:
        """See ``PostTrainingApi``."""
        return await (await self._chosen()).supervised_fine_tune(caller, body)

    async def preference_optimize(self, caller: Caller, body: Json) -> Json:
        """See ``PostTrainingApi``."""
        return await (await self._chosen()).preference_optimize(caller, body)

    async def list(self, caller: Caller) -> Json:
        """See ``PostTrainingApi``."""
        return await (await self._chosen()).list(caller)

    async def status(self, caller: Caller, job_uuid: str) -> Json:
        """See ``PostTrainingApi``."""
        return await (await self._chosen()).status(caller, job_uuid)

    async def artifacts(self, caller: Caller, job_uuid: str) -> Json:
        """See ``PostTrainingApi``."""
        return await (await self._chosen()).artifacts(caller, job_uuid)

    async def cancel(self, caller: Caller, job_uuid: str) -> None:
        """See ``PostTrainingApi``."""
        await (await self._chosen()).cancel(caller, job_uuid)

    async def _chosen(self) -> PostTrainingApi:
        forwards = await self._engines.forwards("post_training")
        tell("post_training", "forwarded" if forwards else "embedded")
        return self._forwarded if forwards else self._own
