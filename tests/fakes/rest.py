"""The REST layer by itself, on an engine that need not be opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.engine import make_engine
from agent.experimental import make_experimental
from agent.settings import Settings
from rest_compat.lightspeed.app import make_lightspeed
from rest_compat.lightspeed.backend import Backend
from rest_compat.lightspeed.health import Providers
from rest_compat.llama_stack.app import make_llama_stack

if TYPE_CHECKING:
    from fastapi import FastAPI

    from agent.auth.gate import Gate


def llama_stack_app(gate: Gate) -> FastAPI:
    """Return Llama Stack's experimental API, with the state in memory."""
    settings = Settings.model_validate({"a2a_state": {"memory": True}})
    engine = make_engine(settings, ("text/plain",))
    return make_llama_stack(
        gate, settings, make_experimental(settings, engine), engine.aside.metrics
    )


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
        histories=engine.histories,
        inferences=engine.inferences,
        aside=engine.aside,
        quotas=engine.quotas,
    )
    return make_lightspeed(gate, backend)
