"""LCS's ``noop-with-token``: a bearer token must be there, and any will do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.auth.base import Identity, Immediate
from agent.auth.bearer import bearer_token, shown_token
from agent.auth.noop import named_user

if TYPE_CHECKING:
    from agent.auth.base import Presented


class NoopWithToken(Immediate):
    """Passes tokens on to whom they may be meant for."""

    def credential(self, presented: Presented) -> str | None:
        """Return the token."""
        return shown_token(presented.headers)

    async def identify(self, presented: Presented) -> Identity:
        """Return whoever the query names, with the token."""
        token = bearer_token(presented.headers)
        return Identity(named_user(presented), token=token, skip_user_id_check=True)
