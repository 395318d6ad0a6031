"""How a model may be called: turns take its id with and without the provider, and so do others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.stacks.base import Model


def named(models: Iterable[Model], wanted: str) -> Model | None:
    """Return the model that is meant, of those that are listed: the one whose very id it is first."""
    listed = list(models)
    exact = (model for model in listed if model.identifier == wanted)
    return next(exact, None) or next((m for m in listed if wanted in _names(m)), None)


def qualified(model: Model) -> str:
    """Return the id of a model as ``provider/model``; most servers have it so."""
    prefix = _prefix(model)
    return model.identifier if model.identifier.startswith(prefix) else prefix + model.identifier


def _names(model: Model) -> tuple[str, str]:
    return qualified(model), model.identifier.removeprefix(_prefix(model))


def _prefix(model: Model) -> str:
    return f"{model.provider_id}/" if model.provider_id else ""
