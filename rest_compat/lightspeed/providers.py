"""``GET /v1/providers`` and ``/v1/providers/{provider_id}``: what stands behind each API of Llama Stack."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends
from pydantic import BaseModel, WithJsonSchema

from agent.errors import ResourceNotFound
from rest_compat.callers import Callers
from rest_compat.lightspeed.backend import Backend
from rest_compat.lightspeed.masking import without_secrets
from rest_compat.lightspeed.responses import LISTING, not_found, succeeds
from rest_compat.lightspeed.rows import rows

_EXAMPLES = {
    "providers": {
        "inference": [
            {
                "provider_id": "sentence-transformers",
                "provider_type": "inline::sentence-transformers",
            },
            {"provider_id": "openai", "provider_type": "remote::openai"},
        ],
        "agents": [{"provider_id": "meta-reference", "provider_type": "inline::meta-reference"}],
    }
}
_EXAMPLE = {
    "api": "inference",
    "config": {"api_key": "********"},
    "health": {"status": "OK", "message": "Healthy"},
    "provider_id": "openai",
    "provider_type": "remote::openai",
}

_KINDS = [
    {"type": "boolean"},
    {"type": "number"},
    {"type": "string"},
    {"items": {}, "type": "array"},
    {},
    {"type": "null"},
]
Value = Annotated[Any, WithJsonSchema({"anyOf": _KINDS})]
"""As LCS documents it; of its types themselves a float would make 4096.0 of 4096."""


class ProvidersListResponse(BaseModel):
    """The providers, by the API that they stand behind."""

    providers: dict[str, list[dict[str, Any]]]


class ProviderResponse(BaseModel):
    """One provider; what is secret in its configuration is masked."""

    api: str
    config: dict[str, Value]
    health: dict[str, Value]
    provider_id: str
    provider_type: str


class _Provider(msgspec.Struct):
    api: str
    provider_id: str
    provider_type: str = ""
    config: dict[str, Any] = {}
    health: dict[str, Any] = {}


def make_providers(backend: Backend, callers: Callers) -> APIRouter:
    """Return the routes."""
    router = callers.router("providers")

    @router.get(
        "/v1/providers",
        operation_id="providers_endpoint_handler_v1_providers_get",
        summary="Providers Endpoint Handler",
        dependencies=[Depends(callers.may("list_providers"))],
        responses=succeeds(_EXAMPLES) | LISTING,
    )
    async def providers() -> ProvidersListResponse:
        """List the providers by the API that they stand behind."""
        by_api: dict[str, list[dict[str, Any]]] = {}
        for each in rows(await backend.stack.providers(), _Provider):
            shown = {"provider_id": each.provider_id, "provider_type": each.provider_type}
            by_api.setdefault(each.api, []).append(shown)
        return ProvidersListResponse(providers=by_api)

    @router.get(
        "/v1/providers/{provider_id}",
        operation_id="get_provider_endpoint_handler_v1_providers__provider_id__get",
        summary="Get Provider Endpoint Handler",
        dependencies=[Depends(callers.may("get_provider"))],
        responses=succeeds(_EXAMPLE) | LISTING | not_found("provider"),
    )
    async def provider(provider_id: str) -> ProviderResponse:
        """Return one provider, the first of this name; what is secret in its configuration is masked."""
        for each in rows(await backend.stack.providers(), _Provider):
            if each.provider_id == provider_id:
                return ProviderResponse(
                    api=each.api,
                    config=without_secrets(each.config),
                    # The server says in its own words what failed, and with which key.
                    health=without_secrets(each.health),
                    provider_id=each.provider_id,
                    provider_type=each.provider_type,
                )
        raise ResourceNotFound("provider", provider_id)

    return router
