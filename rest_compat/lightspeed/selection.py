"""What a query selects: the model, the shields and the vector stores, held against what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import PermissionDenied, ResourceNotFound
from agent.stacks import TurnOptions
from rest_compat.lightspeed.prompts import instructions_of
from rest_compat.lightspeed.responses import MODEL_OVERRIDE
from rest_compat.problems import Answered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.caller import Caller
    from agent.settings import Settings
    from agent.stacks import Stack
    from rest_compat.lightspeed.query_request import QueryRequest

_SHIELDS = "Invalid shield configuration"


def check_override(caller: Caller, query: QueryRequest) -> None:
    """Raise ``PermissionDenied`` unless the caller may choose the model, if they do."""
    chooses = query.model is not None or query.provider is not None
    if chooses and "model_override" not in caller.actions:
        response, cause = MODEL_OVERRIDE
        raise PermissionDenied(cause, response)


def check_shields(settings: Settings, shield_ids: Sequence[str] | None) -> None:
    """Raise LCS's 422 for a choice that is none, or where there is none."""
    if shield_ids is None:
        return
    if settings.customization.disable_shield_ids_override:
        raise Answered(
            422,
            "Shield IDs customization is disabled",
            "This instance does not support customizing shield IDs in the query request "
            "(disable_shield_ids_override is set). Please remove the shield_ids field from your "
            "request.",
        )
    if not shield_ids:
        cause = (
            "shield_ids provided but no shields selected. Remove the parameter to use default "
            "shields."
        )
        raise Answered(422, _SHIELDS, cause)


async def choose_model(stack: Stack, query: QueryRequest) -> str | None:
    """Return the model that is chosen, as ``provider/model``; None leaves it to the settings.

    Raises ``ResourceNotFound``, and ``StackError`` when it cannot be known.
    """
    if not query.model or not query.provider:
        return None
    prefix = f"{query.provider}/"
    names = {query.model, prefix + query.model}
    models = [model for model in await stack.models() if model.provider_id == query.provider]
    for model in models:
        if model.model_type == "llm" and model.identifier in names:
            return prefix + model.identifier.removeprefix(prefix)
    if not models and not await _is_provider(stack, query.provider):
        raise ResourceNotFound("provider", query.provider)
    raise ResourceNotFound("model", query.model)


async def options_of(settings: Settings, stack: Stack, query: QueryRequest) -> TurnOptions:
    """Return what the query wants otherwise than the settings.

    Raises LCS's 422 for a system prompt where there may be none, and for shields that are not there.
    """
    instructions = instructions_of(settings, query.system_prompt)
    shields = query.shield_ids
    if shields is not None:
        await _check_there(stack, shields)
    stores = query.vector_store_ids
    return TurnOptions(
        instructions=instructions,
        no_tools=bool(query.no_tools),
        vector_store_ids=None
        if stores is None
        else tuple(settings.vector_store_id(name) for name in stores),
        shields=None if shields is None else tuple(shields),
        solr=query.solr,
    )


async def _is_provider(stack: Stack, provider_id: str) -> bool:
    return any(each.get("provider_id") == provider_id for each in await stack.providers())


async def _check_there(stack: Stack, shield_ids: Sequence[str]) -> None:
    known = {shield.get("identifier") for shield in await stack.shields()}
    if missing := sorted(set(shield_ids) - known):
        raise Answered(422, _SHIELDS, f"Requested shield_ids not found: {missing}")
