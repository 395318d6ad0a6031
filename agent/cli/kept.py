"""Where a server keeps its data, and whom it sends some, as ``check`` tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agent.settings.databases import A2AState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.settings import Settings
    from agent.settings.databases import ConversationCache, Postgres, SQLite

STATE = "with the state"


def kept(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield what there is beside the state: its name, and where it is; nothing secret."""
    collection = settings.user_data_collection
    stored = str(collection.feedback_storage) if collection.feedback_enabled else ""
    yield "feedback", stored or "not stored: POST /v1/feedback is a 403"
    if collection.transcripts_enabled:
        yield "transcripts", str(collection.transcripts_storage)
    cache = _cache(settings.conversation_cache)
    yield "conversations", cache or "no cache: /v2/conversations is a 500"
    quotas = settings.quota_handlers
    if quotas.limiters or quotas.enable_token_history:
        yield "quotas", _database(quotas.sqlite, quotas.postgres) or STATE
    if settings.audit.enabled:
        yield "audit log", str(settings.audit.path or "standard error")
    splunk = settings.splunk
    if splunk is not None and splunk.enabled and splunk.url is not None:
        yield "telemetry", f"Splunk at {urlsplit(splunk.url).hostname}, index {splunk.index}"


def _cache(cache: ConversationCache) -> str:
    match cache.type:
        case "state":
            return STATE
        case "memory":
            return "in memory"
        case "sqlite" | "postgres":
            return _database(cache.sqlite, cache.postgres)
    return ""


def _database(sqlite: SQLite | None, postgres: Postgres | None) -> str:
    if sqlite is None and postgres is None:
        return ""
    return A2AState(sqlite=sqlite, postgres=postgres).url.render_as_string(hide_password=True)
