"""The REST layer by itself, on an engine that need not be opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.engine import make_engine
from agent.histories import Histories
from agent.inferences import Inferences
from agent.settings import Settings
from rest_compat.lightspeed.app import make_lightspeed
from rest_compat.lightspeed.backend import Backend
from rest_compat.lightspeed.health import Providers

if TYPE_CHECKING:
    from fastapi import FastAPI

    from agent.auth.gate import Gate


def rest_app(
    gate: Gate, settings: Settings | None = None, providers: Providers | None = None
) -> FastAPI:
    """Return the application, with the state in memory; ``providers`` stand for those of the engine."""
    given: dict[str, Any] = {"a2a_state": {"memory": True}}
    settings = settings or Settings.model_validate(given)
    engine = make_engine(settings, ("text/plain",))
    backend = Backend(
        settings=settings,
        service=engine.service,
        stack=engine.stack,
        providers=providers or Providers(engine.stack, engine.database),
        runner=engine.runner,
        histories=Histories(engine.database, engine.service, settings.limits),
        inferences=Inferences(engine.stack, settings.limits, engine.quotas),
        aside=engine.aside,
        quotas=engine.quotas,
    )
    return make_lightspeed(gate, backend)
