"""Settings that ask for something which does not happen, with what runs the turns here."""

from collections.abc import Iterator

from agent.settings.settings import Settings

_OPEN = frozenset({"noop", "noop-with-token"})


def unused(settings: Settings) -> list[str]:
    """Return what asks for nothing that happens: the key, and why; settings at their default do not ask."""
    return [f"{key} {why}" for key, why in (*_elsewhere(settings), *_of_stacks(settings))]


def _elsewhere(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.service.auth_enabled and settings.authentication.module in _OPEN:
        yield "service.auth_enabled", "lets everybody in: authentication.module decides"
    database = settings.database
    if (database.sqlite or database.postgres) and settings.state == settings.a2a_state:
        named = database.sqlite, database.postgres
        if named != (settings.a2a_state.sqlite, settings.a2a_state.postgres):
            yield "database", "is not used: a2a_state says where the state is kept"
    if settings.conversation_cache.type == "memory" and settings.service.workers > 1:
        why = "memory is each worker's own: /v2 has what the one that is asked has answered"
        yield "conversation_cache.type", why


def _of_stacks(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.knowledge is not None and not settings.is_embedded:
        yield "knowledge", "is not used: only the embedded stack reads it"
    stack = settings.llama_stack
    if lacking := no_library(settings):
        yield "llama_stack.use_as_library_client", f"runs the embedded stack: {lacking}"
    needs = "needs a Llama Stack, and another stack runs the turns"
    if stack.url is None and stack.library is None:
        if settings.azure_entra_id is not None:
            yield "azure_entra_id", needs
        if settings.is_embedded and settings.byok_rag:
            yield "byok_rag", needs
        if settings.is_embedded and settings.solr and settings.solr.enabled:
            yield "solr.enabled", needs


def no_library(settings: Settings) -> str | None:
    """Return why there is no library mode where it is asked for."""
    stack = settings.llama_stack
    if not stack.use_as_library_client or stack.library is not None or settings.stack is not None:
        return None
    if stack.library_client_config_path is None:
        return "library_client_config_path is not set"
    return (
        "the package llama-stack is not installed here, and library_python names no Python with it"
    )
