"""How REST calls contexts: LCS's conversations have 48 hex characters, or a UUID."""

from __future__ import annotations

import re
import secrets

_FORM = re.compile(r"[0-9a-fA-F]{48}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def is_conversation_id(text: str) -> bool:
    """Whether REST takes ``text`` for a conversation: a context with such an id is called by it."""
    return _FORM.fullmatch(text) is not None


def new_public_id() -> str:
    """Return how a context with any other id is called from now on: 48 random hex characters."""
    return secrets.token_hex(24)
