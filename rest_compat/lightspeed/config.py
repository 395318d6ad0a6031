"""``GET /v1/config``: the configuration, without its secrets."""

from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from agent.settings import Settings
from agent.transport.cors import allowed_origins
from rest_compat.lightspeed.callers import Callers
from rest_compat.lightspeed.configuration import Configuration
from rest_compat.lightspeed.responses import ACCESS, INTERNAL_SERVER_ERROR, succeeds

_EXAMPLE: dict[str, Any] = {
    "configuration": {
        "name": "lightspeed-stack",
        "service": {"host": "localhost", "port": 8080, "workers": 1},
        "llama_stack": {"url": "http://localhost:8321", "api_key": "**********"},
        "user_data_collection": {"feedback_enabled": False, "transcripts_enabled": False},
    }
}


class ConfigurationResponse(BaseModel):
    """The configuration of the service."""

    configuration: Configuration


def make_config(settings: Settings, callers: Callers) -> APIRouter:
    """Return the route."""
    router = callers.router("config")
    shown = ConfigurationResponse(configuration=configuration_of(settings))

    @router.get(
        "/v1/config",
        operation_id="config_endpoint_handler_v1_config_get",
        summary="Config Endpoint Handler",
        dependencies=[Depends(callers.may("get_config"))],
        responses=succeeds(_EXAMPLE) | ACCESS | INTERNAL_SERVER_ERROR,
    )
    async def config() -> ConfigurationResponse:
        """Return the sections that LCS knows; secrets, and what stands for one in a URL, are masked."""
        return shown

    return router


def configuration_of(settings: Settings) -> Configuration:
    """Return what is shown of the settings; of origins, which LCS always names, those in effect."""
    cors = settings.service.cors.model_copy(update={"allow_origins": allowed_origins(settings)})
    service = settings.service.model_copy(update={"cors": cors})
    return Configuration.model_validate(settings.model_copy(update={"service": service}))
