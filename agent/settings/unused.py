"""LCS's settings that this version reads and checks, but does not act on."""

from pydantic import BaseModel

from agent.settings.settings import Settings

UNUSED = (
    "service.auth_enabled",
    "llama_stack.library_client_config_path",
    "user_data_collection",
    "database",
    "customization.profile_path",
    "customization.disable_query_system_prompt",
    "customization.custom_profile",
    "conversation_cache",
    "byok_rag",
    "azure_entra_id",
    "splunk",
    "deployment_environment",
    "solr",
)
"""Nothing acts on these, whatever runs the turns. LCS's ``name`` is left out: every file has one."""


def unused(settings: Settings) -> list[str]:
    """Return the keys that ask for something which does not happen; those at their default do not."""
    asked = [key for key in UNUSED if _value(settings, key) != _value(Settings(), key)]
    if settings.knowledge is not None and not settings.is_embedded:
        asked.append("knowledge")
    return asked


def _value(settings: BaseModel, key: str) -> object:
    value: object = settings
    for name in key.split("."):
        value = getattr(value, name)
    return value
