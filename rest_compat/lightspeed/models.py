"""``GET /v1/models``: the models that there are."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from agent.stacks.base import Model
from rest_compat.callers import Callers
from rest_compat.lightspeed.backend import Backend
from rest_compat.lightspeed.responses import LISTING, succeeds

_EXAMPLE = {
    "models": [
        {
            "identifier": "openai/gpt-4-turbo",
            "metadata": {},
            "api_model_type": "llm",
            "provider_id": "openai",
            "type": "model",
            "provider_resource_id": "gpt-4-turbo",
            "model_type": "llm",
        }
    ]
}
_FILTER = Query(
    description="Optional filter to return only models matching this type",
    examples=["llm", "embeddings"],
)


class ModelsResponse(BaseModel):
    """The models, as Llama Stack describes them."""

    models: list[dict[str, Any]]


def make_models(backend: Backend, callers: Callers) -> APIRouter:
    """Return the route."""
    router = callers.router("models")

    @router.get(
        "/v1/models",
        operation_id="models_endpoint_handler_v1_models_get",
        summary="Models Endpoint Handler",
        dependencies=[Depends(callers.may("get_models"))],
        responses=succeeds(_EXAMPLE) | LISTING,
    )
    async def models(model_type: Annotated[str | None, _FILTER] = None) -> ModelsResponse:
        """List the models; with `model_type`, those of one type only."""
        known = await backend.stack.models()
        kept = [each for each in known if model_type in {None, each.model_type}]
        return ModelsResponse(models=[_shown(each) for each in kept])

    return router


def _shown(model: Model) -> dict[str, Any]:
    own = model.provider_resource_id or model.identifier.removeprefix(f"{model.provider_id}/")
    return {
        "identifier": model.identifier,
        "metadata": model.metadata,
        "api_model_type": model.model_type,
        "provider_id": model.provider_id,
        "type": "model",
        "provider_resource_id": own,
        "model_type": model.model_type,
    }
