"""``GET /v1/config``: the configuration, without its secrets."""

from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from agent.settings import Settings
from agent.settings.databases import DEFAULT_STATE, A2AState, ConversationCache, SQLite
from agent.settings.document import read_document
from agent.settings.lcs import Customization
from agent.transport.cors import allowed_origins
from rest_compat.callers import Callers
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
    """Return what is shown of the settings, with what is in effect where LCS always says that.

    These are the origins, the agent card that a file holds, and the database of the conversation cache.
    """
    cors = settings.service.cors.model_copy(update={"allow_origins": allowed_origins(settings)})
    in_effect = {
        "service": settings.service.model_copy(update={"cors": cors}),
        "customization": _with_card(settings.customization),
        "conversation_cache": _with_database(settings.conversation_cache, settings.state),
    }
    return Configuration.model_validate(settings.model_copy(update=in_effect))


def _with_card(custom: Customization) -> Customization:
    if custom.agent_card_path is None:
        return custom
    card = read_document(custom.agent_card_path)
    return custom.model_copy(update={"agent_card_config": card})


def _with_database(cache: ConversationCache, state: A2AState) -> ConversationCache:
    """Say in LCS's words what we call ``state``."""
    if cache.type != "state":
        return cache
    if state.postgres is not None:
        return ConversationCache(type="postgres", postgres=state.postgres)
    if state.memory:
        return cache.model_copy(update={"type": "memory"})
    file = state.sqlite or SQLite(db_path=DEFAULT_STATE)
    return ConversationCache(type="sqlite", sqlite=file)
