"""``GET /metrics``: what has happened in this process, for Prometheus."""

import asyncio
import logging

from fastapi import APIRouter, Depends
from starlette.responses import PlainTextResponse

from agent.metrics import Metrics
from agent.settings import Settings
from agent.stacks.base import Stack
from rest_compat.callers import Callers
from rest_compat.lightspeed.backend import Backend
from rest_compat.lightspeed.responses import LISTING
from rest_compat.lightspeed.shared import Shared
from rest_compat.measured import METRICS

logger = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"
"""Of Prometheus' text format."""

MODELS_SECONDS = 60.0
"""How long the models are taken for what they were."""

PATIENCE_SECONDS = 2.0
"""How long a stack may take to say which models it has; Prometheus waits for ten."""


class _Offer:
    """Has the metrics know which models there are; one that cannot be asked now leaves what was known."""

    def __init__(self, settings: Settings, stack: Stack, metrics: Metrics) -> None:
        self._inference = settings.inference
        self._stack = stack
        self._metrics = metrics

    async def renew(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                models = await self._stack.models()
            chosen = self._inference
            self._metrics.offer(models, chosen.default_model, chosen.default_provider)
        except Exception as exc:  # noqa: BLE001 - a stack may be anybody's, and metrics tell of more than it
            logger.warning("The models are not known: %s", type(exc).__name__)


def make_metrics(backend: Backend, callers: Callers) -> APIRouter:
    """Return the route."""
    router = callers.router("metrics")
    metrics, runner, service = backend.aside.metrics, backend.runner, backend.service
    metrics.watch("a2a_tasks_running", "Tasks that run now", lambda: len(runner.running()))
    metrics.watch("a2a_streams_open", "Streams that are followed now", lambda: service.open_streams)
    offer = Shared(_Offer(backend.settings, backend.stack, metrics).renew, MODELS_SECONDS)

    @router.get(
        METRICS,
        operation_id="metrics_endpoint_handler_metrics_get",
        summary="Metrics Endpoint Handler",
        dependencies=[Depends(callers.may("get_metrics"))],
        response_class=PlainTextResponse,
        responses=LISTING,
    )
    async def show() -> PlainTextResponse:
        """Return what has happened in this process, in the text format of Prometheus."""
        await offer.get()
        return PlainTextResponse(metrics.text(), media_type=CONTENT_TYPE)

    return router
