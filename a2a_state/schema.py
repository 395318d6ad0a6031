"""All tables of the database, gathered: what the migrations must arrive at."""

from a2a_state import conversation_cache, passages, push_configs, quotas, sessions
from a2a_state.tables import metadata

__all__ = ["conversation_cache", "metadata", "passages", "push_configs", "quotas", "sessions"]
