"""The history of a conversation as JSON: a long one is written apart from the event loop, turn by turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from fastapi import Response

from rest_compat.lightspeed.conversation_models import shown_turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.conversation_turns import Turn

SHORT = 64 * 1024
"""So many bytes are written at once: going to a thread takes as long."""


async def history(conversation_id: str, turns: Sequence[Turn]) -> Response:
    """Return what a conversation is answered with."""
    size = 0
    for turn in turns:
        size += turn.size
        if size > SHORT:
            content = await asyncio.to_thread(_written, conversation_id, turns)
            break
    else:
        content = _written(conversation_id, turns)
    return Response(content, media_type="application/json")


def _written(conversation_id: str, turns: Sequence[Turn]) -> bytes:
    # Each by itself: others get their turn between two of them.
    body = b",".join(shown_turn(turn).model_dump_json().encode() for turn in turns)
    name = msgspec.json.encode(conversation_id)
    return b'{"conversation_id":%b,"chat_history":[%b]}' % (name, body)
