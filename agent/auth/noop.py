"""LCS's ``noop``: everybody is the one anonymous user, or whoever the query's ``user_id`` names."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from agent.auth.base import ID_CHARS, Identity, Immediate, can_be_id
from agent.errors import InvalidParams

if TYPE_CHECKING:
    from agent.auth.base import Presented

ANONYMOUS = "00000000-0000-0000-0000-000"
"""LCS's id of the user that is nobody in particular."""

_NOBODY = Identity(ANONYMOUS, skip_user_id_check=True)


class Noop(Immediate):
    """Asks nothing."""

    async def identify(self, presented: Presented) -> Identity:
        """Return whoever the query names."""
        if not presented.query:
            return _NOBODY
        return Identity(named_user(presented), skip_user_id_check=True)


def named_user(presented: Presented) -> str:
    """Return the user that the query names with ``user_id``, else the anonymous one.

    Raises ``InvalidParams`` for what nobody can be called: that says nothing about credentials.
    """
    text = presented.query.decode("latin-1")
    # What is no UTF-8 must not become the same character, and so the same user.
    query = parse_qs(text, keep_blank_values=True, errors="surrogateescape")
    user_id = query.get("user_id", [ANONYMOUS])[-1]
    if not can_be_id(user_id):
        raise InvalidParams("user_id", f"must have 1 to {ID_CHARS} printable characters")
    return user_id
