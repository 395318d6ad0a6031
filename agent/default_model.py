"""The model that answers where none is named: the only one for callers who may choose no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from agent.errors import PermissionDenied, StackError, TurnFailed
from agent.stacks.naming import named

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.caller import Caller
    from agent.settings import Settings
    from agent.stacks import Model, Stack

NO_OVERRIDE = "Without the permission model_override, the model must be the default one."


class CheckModels(Protocol):
    """``check_override``, which knows what there is."""

    async def __call__(self, caller: Caller, wanted: Iterable[str]) -> None:
        """See ``check_override``."""


async def check_override(
    caller: Caller, wanted: Iterable[str], settings: Settings, stack: Stack
) -> None:
    """Raise ``PermissionDenied`` for a model that the caller may not choose; the default is everybody's.

    Models are named with their provider or without. Raises ``StackError`` when it cannot be known.
    """
    if "model_override" in caller.actions:
        return
    ours = _of_settings(settings)
    others = [name for name in wanted if name != ours]
    if not others:
        return
    models = await _language_models(stack)
    default = _default(models, ours)
    if default is None or any(named(models, name) != default for name in others):
        raise PermissionDenied(NO_OVERRIDE)


async def default_model(settings: Settings, stack: Stack) -> str | None:
    """Return the name of the model that answers where none is named; None where the stack has no names.

    Raises ``StackError`` when it cannot be known.
    """
    ours = _of_settings(settings)
    if ours is not None and not settings.is_embedded:
        return ours
    try:
        default = _default(await _language_models(stack), ours)
    except StackError:
        if ours is None:
            raise
        return ours
    return ours if default is None else default.identifier


def _default(models: Sequence[Model], ours: str | None) -> Model | None:
    """Return the model of the settings as the stack lists it; without one stacks take the first."""
    return next(iter(models), None) if ours is None else named(models, ours)


async def _language_models(stack: Stack) -> Sequence[Model]:
    """Return the models that answer, those of shields last."""
    models = [model for model in await stack.models() if model.model_type == "llm"]
    try:
        guards = {shield.get("provider_resource_id") for shield in await stack.shields()}
    except TurnFailed:  # a server without the safety API
        return models
    return sorted(models, key=lambda model: model.identifier in guards)


def _of_settings(settings: Settings) -> str | None:
    """Return the model of the settings with its provider, if it has one there; the stack may have its own."""
    model, provider = settings.inference.default_model, settings.inference.default_provider
    if settings.is_embedded:
        model = (settings.openai.model or model) if settings.openai.is_set else None
    if model is None or provider is None or model.startswith(f"{provider}/"):
        return model
    return f"{provider}/{model}"
