"""LCS's ``api-key-token``: one key for everybody, shown as a bearer token."""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import TYPE_CHECKING

from agent.auth.base import Identity, Immediate
from agent.auth.bearer import bearer_token, can_be_sent, invalid_token, shown_token
from agent.auth.noop import named_user
from agent.errors import SettingsError

if TYPE_CHECKING:
    from agent.auth.base import Presented


class ApiKeyToken(Immediate):
    """Lets in who knows the key."""

    always_checks = False

    def __init__(self, key: str) -> None:
        """Raises ``SettingsError`` for a key that no request could show."""
        if not can_be_sent(key):
            raise SettingsError(
                "authentication.api_key_config.api_key",
                "must be ASCII without spaces, commas and line breaks, to be sent as a bearer token",
            )
        self._digest = _digest(key)

    def credential(self, presented: Presented) -> str | None:
        """Return what is shown as the key."""
        return shown_token(presented.headers)

    async def identify(self, presented: Presented) -> Identity:
        """Return whoever the query names; the key goes no further, since it opens this server only."""
        token = bearer_token(presented.headers)
        # Digests, since comparing what differs in length would tell the length.
        if not hmac.compare_digest(_digest(token), self._digest):
            raise invalid_token("Invalid API Key")
        return Identity(named_user(presented), skip_user_id_check=True)


def _digest(key: str) -> bytes:
    return sha256(key.encode()).digest()
