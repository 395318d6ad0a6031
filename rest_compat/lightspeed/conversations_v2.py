"""``/v2/conversations``: the conversations of the caller as the conversation cache has them."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, Response

from a2a_state.conversation_cache import CachedConversation
from agent.caller import Caller
from agent.conversation_cache import ConversationCache
from agent.conversation_turns import Turn
from agent.errors import ResourceNotFound, StateError
from agent.histories import Histories, ListedConversation
from rest_compat.callers import Callers
from rest_compat.lightspeed.backend import Backend
from rest_compat.lightspeed.conversation_history import history
from rest_compat.lightspeed.conversation_ids import conversation_id_in
from rest_compat.lightspeed.conversation_lists import data
from rest_compat.lightspeed.conversation_models import (
    ConversationDeleteResponse,
    ConversationResponse,
    ConversationsListResponseV2,
    ConversationUpdateRequest,
    ConversationUpdateResponse,
    deleted,
    updated,
)
from rest_compat.lightspeed.conversations_v1 import DELETED, HISTORY, UPDATED
from rest_compat.lightspeed.responses import (
    ACCESS,
    BAD_CONVERSATION_ID,
    internal_server_error,
    not_found,
    succeeds,
    succeeds_as,
)
from rest_compat.problems import Answered

logger = logging.getLogger(__name__)

_LIST: dict[str, Any] = {
    "conversations": [
        {
            "conversation_id": "123e4567-e89b-12d3-a456-426614174000",
            "last_message_timestamp": 1704067200.0,
            "topic_summary": "Openshift Microservices Deployment Strategies",
        }
    ]
}
_BROKEN = internal_server_error("conversation cache")
_ONE = ACCESS | BAD_CONVERSATION_ID | _BROKEN


class _Shelf(Protocol):
    """Where the caller's own conversations are read: those of others are in no list of a cache."""

    async def latest(self, caller: Caller) -> Sequence[ListedConversation | CachedConversation]:
        """Return the conversations, the latest first."""

    async def turns(self, caller: Caller, conversation_id: str) -> Sequence[Turn]:
        """Return what was said; raises ``ResourceNotFound``."""

    async def set_topic(self, caller: Caller, conversation_id: str, text: str) -> None:
        """Name the topic; raises ``ResourceNotFound``."""

    async def delete(self, caller: Caller, conversation_id: str) -> bool:
        """Delete a conversation; returns whether it was there."""


class _State:
    """Reads what ``/v1/conversations`` reads."""

    def __init__(self, histories: Histories) -> None:
        self._histories = histories

    async def latest(self, caller: Caller) -> Sequence[ListedConversation]:
        return await self._histories.list(caller, own=True)

    async def turns(self, caller: Caller, conversation_id: str) -> Sequence[Turn]:
        return await self._histories.turns(
            await self._histories.find(caller, conversation_id, None)
        )

    async def set_topic(self, caller: Caller, conversation_id: str, text: str) -> None:
        found = await self._histories.find(caller, conversation_id, None)
        await self._histories.set_topic(caller, found.context_id, text)

    async def delete(self, caller: Caller, conversation_id: str) -> bool:
        return await self._histories.delete(caller, conversation_id, None)


class _Cache:
    """Reads the cache; the state, where that knows what the cache does not know yet.

    What is changed there is changed in the state, too, as far as it still has it.
    """

    def __init__(self, state: _State, cache: ConversationCache) -> None:
        self._state = state
        self._cache = cache

    async def latest(self, caller: Caller) -> Sequence[CachedConversation]:
        return await self._cache.latest(caller.owner, caller.tenant)

    async def turns(self, caller: Caller, conversation_id: str) -> Sequence[Turn]:
        owner, tenant = caller.owner, caller.tenant
        if not await self._cache.is_current(owner):
            with suppress(ResourceNotFound):
                return await self._state.turns(caller, conversation_id)
        turns = await self._cache.turns(owner, tenant, conversation_id)
        return await self._state.turns(caller, conversation_id) if turns is None else turns

    async def set_topic(self, caller: Caller, conversation_id: str, text: str) -> None:
        owner, tenant = caller.owner, caller.tenant
        is_cached = await self._cache.set_topic(owner, tenant, conversation_id, text)
        try:
            await self._state.set_topic(caller, conversation_id, text)
        except ResourceNotFound:
            if not is_cached:
                raise

    async def delete(self, caller: Caller, conversation_id: str) -> bool:
        was_in_state = await self._state.delete(caller, conversation_id)
        was_cached = await self._cache.forget(caller.owner, caller.tenant, conversation_id)
        return was_in_state or was_cached


def make_conversations_v2(backend: Backend, callers: Callers) -> APIRouter:
    """Return the routes."""
    router = callers.router("conversations_v2")
    shelf = _shelf(backend)
    _add_reading(router, shelf, callers)
    _add_changing(router, shelf, callers)
    return router


def _add_reading(router: APIRouter, shelf: _Shelf | None, callers: Callers) -> None:
    @router.get(
        "/v2/conversations",
        operation_id="get_conversations_list_endpoint_handler_v2_conversations_get",
        summary="Get Conversations List Endpoint Handler",
        responses=succeeds(_LIST) | ACCESS | _BROKEN,
        response_model=ConversationsListResponseV2,
    )
    async def conversations(
        caller: Annotated[Caller, Depends(callers.may("list_conversations"))],
    ) -> Response:
        """List the caller's conversations, the latest first; 10,000 at most."""
        with _of(shelf) as kept:
            found = await kept.latest(caller)
        return await data(found)

    @router.get(
        "/v2/conversations/{conversation_id}",
        operation_id="get_conversation_endpoint_handler_v2_conversations__conversation_id__get",
        summary="Get Conversation Endpoint Handler",
        responses=succeeds(HISTORY) | _ONE | not_found("conversation"),
        response_model=ConversationResponse,
    )
    async def conversation(
        conversation_id: str,
        caller: Annotated[Caller, Depends(callers.may("get_conversation"))],
    ) -> Response:
        """Return what was said in a conversation; a turn that still runs is not part of it yet."""
        wanted = conversation_id_in(conversation_id)
        with _of(shelf) as kept:
            turns = await kept.turns(caller, wanted)
        return await history(wanted, turns)


def _add_changing(router: APIRouter, shelf: _Shelf | None, callers: Callers) -> None:
    @router.delete(
        "/v2/conversations/{conversation_id}",
        operation_id=(
            "delete_conversation_endpoint_handler_v2_conversations__conversation_id__delete"
        ),
        summary="Delete Conversation Endpoint Handler",
        responses=succeeds_as(DELETED) | _ONE,
    )
    async def delete(
        conversation_id: str,
        caller: Annotated[Caller, Depends(callers.may("delete_conversation"))],
    ) -> ConversationDeleteResponse:
        """Delete a conversation on every surface; what is not there is deleted already."""
        wanted = conversation_id_in(conversation_id)
        with _of(shelf) as kept:
            return await deleted(wanted, kept.delete(caller, wanted))

    @router.put(
        "/v2/conversations/{conversation_id}",
        operation_id="update_conversation_endpoint_handler_v2_conversations__conversation_id__put",
        summary="Update Conversation Endpoint Handler",
        responses=succeeds(UPDATED) | _ONE | not_found("conversation"),
    )
    async def update(
        conversation_id: str,
        change: ConversationUpdateRequest,
        caller: Annotated[Caller, Depends(callers.may("update_conversation"))],
    ) -> ConversationUpdateResponse:
        """Name the topic of a conversation."""
        wanted = conversation_id_in(conversation_id)
        with _of(shelf) as kept:
            await kept.set_topic(caller, wanted, change.topic_summary)
        return updated(wanted)


def _shelf(backend: Backend) -> _Shelf | None:
    state, cache = _State(backend.histories), backend.histories.cache
    if cache is not None:
        return _Cache(state, cache)
    return state if backend.settings.conversation_cache.type == "state" else None


@contextmanager
def _of(shelf: _Shelf | None) -> Iterator[_Shelf]:
    """Give where conversations are read; answers as LCS where there is none, or it cannot be read."""
    response = "Conversation cache not configured"
    cause = "Conversation cache is not configured or unavailable."
    if shelf is None:
        raise Answered(500, response, cause)
    try:
        yield shelf
    except StateError as exc:
        logger.warning("The conversation cache cannot be read or written", exc_info=True)
        raise Answered(500, response, cause) from exc
