"""Lists of conversations as JSON: long ones are written apart from the event loop, which serves others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from fastapi import Response

from rest_compat.lightspeed.conversation_models import iso, provider_and_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from a2a_state.conversation_cache import CachedConversation
    from agent.histories import ListedConversation

FEW = 100
"""So many are written at once: going to a thread takes as long."""


class _Details(msgspec.Struct, frozen=True):
    """What ``ConversationDetails`` says."""

    conversation_id: str
    created_at: str
    last_message_at: str
    message_count: int
    last_used_model: str | None
    last_used_provider: str | None
    topic_summary: str


class _Data(msgspec.Struct, frozen=True):
    """What ``ConversationData`` says."""

    conversation_id: str
    topic_summary: str | None
    last_message_timestamp: float


async def details(found: Sequence[ListedConversation]) -> Response:
    """Return what ``/v1/conversations`` answers: the oldest first."""
    return await _answer(found, _details)


async def data(found: Sequence[ListedConversation | CachedConversation]) -> Response:
    """Return what ``/v2/conversations`` answers, in the same order."""
    return await _answer(found, _data)


async def _answer[T](found: Sequence[T], write: Callable[[Sequence[T]], bytes]) -> Response:
    few = len(found) <= FEW
    content = write(found) if few else await asyncio.to_thread(write, found)
    return Response(content, media_type="application/json")


def _details(found: Sequence[ListedConversation]) -> bytes:
    in_order = sorted(found, key=lambda one: (one.created_at, one.conversation_id))
    return msgspec.json.encode({"conversations": [_shown(one) for one in in_order]})


def _shown(conversation: ListedConversation) -> _Details:
    provider, model = provider_and_model(conversation.model)
    return _Details(
        conversation_id=conversation.conversation_id,
        created_at=iso(conversation.created_at),
        last_message_at=iso(conversation.last_message_at),
        message_count=conversation.messages,
        last_used_model=model or None,
        last_used_provider=provider or None,
        topic_summary=conversation.topic_summary or "",
    )


def _data(found: Sequence[ListedConversation | CachedConversation]) -> bytes:
    rows = [
        _Data(one.conversation_id, one.topic_summary, one.last_message_at / 1000) for one in found
    ]
    return msgspec.json.encode({"conversations": rows})
