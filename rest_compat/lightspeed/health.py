"""``GET /liveness`` and ``GET /readiness``: whether the process answers, and whether turns can run."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel
from sqlalchemy import Connection, literal, select

from a2a_state.database import Database
from agent.errors import AgentError
from agent.settings import Settings
from agent.stacks.base import Stack
from rest_compat.callers import Callers
from rest_compat.lightspeed.responses import (
    ACCESS,
    SERVICE_UNAVAILABLE,
    DetailModel,
    succeeds,
)
from rest_compat.lightspeed.shared import Shared
from rest_compat.problems import RETRY_SECONDS

logger = logging.getLogger(__name__)

CHECK_SECONDS = 5.0
"""How long what is asked has to answer; probes of Kubernetes wait for one second unless told otherwise."""


SHARED_SECONDS = 1.0
"""How long what was found is told to all who ask: where nobody is kept out, they may be many."""


class LivenessResponse(BaseModel):
    """Whether the process answers."""

    alive: bool


class ProviderHealthStatus(BaseModel):
    """The health of one provider: ``ok``, ``unhealthy`` or ``not_implemented``."""

    provider_id: str
    status: str
    message: str | None = None


class ReadinessResponse(BaseModel):
    """Whether turns can run; ``providers`` are those that are not well."""

    ready: bool
    reason: str
    providers: list[ProviderHealthStatus]


class NotReady(ReadinessResponse):
    """What LCS sends, and what its OpenAPI document says that it sends, in one."""

    detail: DetailModel


class Providers:
    """What turns need: the stack, and the database that remembers them."""

    def __init__(
        self,
        stack: Stack,
        database: Database,
        patience: float = CHECK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """``patience`` is in seconds, and so is what ``clock`` tells.

        ``is_stopping`` tells whether the server takes no more work.
        """
        self.is_stopping = is_stopping
        self._stack = stack
        self._database = database
        self._patience = patience
        self._shared = Shared(self._ask, SHARED_SECONDS, clock)

    async def unhealthy(self) -> list[ProviderHealthStatus]:
        """Return those that are not well; who asks while others do, or soon after, shares the answer."""
        return await self._shared.get()

    async def _ask(self) -> list[ProviderHealthStatus]:
        """Ask all of them at once."""
        checks = {"stack": self._ask_stack(), "a2a_state": self._ask_database()}
        problems = await asyncio.gather(*(self._problem(each) for each in checks.values()))
        return [
            ProviderHealthStatus(provider_id=name, status="unhealthy", message=problem)
            for name, problem in zip(checks, problems, strict=True)
            if problem is not None
        ]

    async def _problem(self, check: Awaitable[str | None]) -> str | None:
        try:
            async with asyncio.timeout(self._patience):
                return await check
        except TimeoutError:
            return f"No answer within {self._patience:g} seconds"
        except AgentError as exc:
            return exc.message
        except Exception:
            # A stack may be anybody's.
            logger.exception("A health check failed")
            return "The check failed"

    async def _ask_stack(self) -> str | None:
        health = await self._stack.health()
        return None if health.ok else health.detail or "Not able to run turns"

    async def _ask_database(self) -> None:
        await self._database.read(_ask)


def make_health(settings: Settings, callers: Callers, providers: Providers) -> APIRouter:
    """Return the routes; with ``authentication.skip_for_health_probes`` anybody may ask."""
    is_open = settings.authentication.skip_for_health_probes
    allowed = [] if is_open else [Depends(callers.may("info"))]
    router = callers.router("health", dependencies=allowed)

    @router.get(
        "/liveness",
        operation_id="liveness_probe_get_method_liveness_get",
        summary="Liveness Probe Get Method",
        responses=succeeds({"alive": True}) | ACCESS,
    )
    async def liveness() -> LivenessResponse:
        """Tell that the process answers."""
        return LivenessResponse(alive=True)

    @router.get(
        "/readiness",
        operation_id="readiness_probe_get_method_readiness_get",
        summary="Readiness Probe Get Method",
        response_model=ReadinessResponse,
        responses=succeeds({"ready": True, "reason": _ALL_WELL, "providers": []})
        | ACCESS
        | SERVICE_UNAVAILABLE,
    )
    async def readiness() -> Response:
        """Ask the stack and the database whether turns can run; a server that is stopping is not ready."""
        if providers.is_stopping():
            return _response(_not_ready(_STOPPING, "It takes no more work.", []), 503)
        unhealthy = await providers.unhealthy()
        if unhealthy:
            return _response(_unwell(unhealthy), 503)
        return _response(ReadinessResponse(ready=True, reason=_ALL_WELL, providers=[]), 200)

    return router


_ALL_WELL = "All providers are healthy"
_STOPPING = "The server is stopping"


def _unwell(unhealthy: list[ProviderHealthStatus]) -> NotReady:
    names = ", ".join(provider.provider_id for provider in unhealthy)
    cause = " ".join(f"{each.provider_id}: {each.message}" for each in unhealthy)
    return _not_ready(f"Providers not healthy: {names}", cause, unhealthy)


def _not_ready(reason: str, cause: str, unhealthy: list[ProviderHealthStatus]) -> NotReady:
    detail = DetailModel(response=reason, cause=cause)
    return NotReady(ready=False, reason=reason, providers=unhealthy, detail=detail)


def _response(body: ReadinessResponse, status: int) -> Response:
    headers = {} if body.ready else {"Retry-After": str(RETRY_SECONDS)}
    return Response(body.model_dump_json(), status, headers, media_type="application/json")


def _ask(connection: Connection) -> None:
    connection.execute(select(literal(1)))
