"""``/v1/conversations``: the conversations of the caller, whichever surface they were held on."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from agent.caller import Caller
from agent.errors import StateError
from agent.histories import Histories
from agent.others import QUERY
from rest_compat.callers import Callers
from rest_compat.lightspeed.backend import Backend
from rest_compat.lightspeed.conversation_history import history
from rest_compat.lightspeed.conversation_ids import conversation_id_in
from rest_compat.lightspeed.conversation_lists import details
from rest_compat.lightspeed.conversation_models import (
    ConversationDeleteResponse,
    ConversationResponse,
    ConversationsListResponse,
    ConversationUpdateRequest,
    ConversationUpdateResponse,
    deleted,
    updated,
)
from rest_compat.lightspeed.responses import (
    ACCESS,
    BAD_CONVERSATION_ID,
    SERVICE_UNAVAILABLE,
    internal_server_error,
    not_found,
    succeeds,
    succeeds_as,
)
from rest_compat.problems import Answered

logger = logging.getLogger(__name__)

_ID = "123e4567-e89b-12d3-a456-426614174000"
_LIST: dict[str, Any] = {
    "conversations": [
        {
            "conversation_id": _ID,
            "created_at": "2024-01-01T00:00:00Z",
            "last_message_at": "2024-01-01T00:05:00Z",
            "last_used_model": "gemini/gemini-2.0-flash",
            "last_used_provider": "gemini",
            "message_count": 5,
            "topic_summary": "Openshift Microservices Deployment Strategies",
        },
    ]
}
HISTORY: dict[str, Any] = {
    "chat_history": [
        {
            "completed_at": "2024-01-01T00:01:05Z",
            "messages": [
                {"content": "Hello", "type": "user"},
                {"content": "Hi there!", "type": "assistant"},
            ],
            "model": "gpt-4o-mini",
            "provider": "openai",
            "started_at": "2024-01-01T00:01:00Z",
            "tool_calls": [],
            "tool_results": [],
        }
    ],
    "conversation_id": _ID,
}
DELETED = {
    "deleted": {
        "conversation_id": _ID,
        "response": "Conversation deleted successfully",
        "success": True,
    },
    "not found": {
        "conversation_id": _ID,
        "response": "Conversation can not be deleted",
        "success": True,
    },
}
UPDATED = {
    "conversation_id": _ID,
    "message": "Topic summary updated successfully",
    "success": True,
}
_BROKEN = internal_server_error("database")
_ONE = ACCESS | BAD_CONVERSATION_ID | _BROKEN | SERVICE_UNAVAILABLE


def make_conversations_v1(backend: Backend, callers: Callers) -> APIRouter:
    """Return the routes."""
    router = callers.router("conversations_v1")
    _add_reading(router, backend.histories, callers)
    _add_changing(router, backend.histories, callers)
    return router


def _add_reading(router: APIRouter, histories: Histories, callers: Callers) -> None:
    @router.get(
        "/v1/conversations",
        operation_id="get_conversations_list_endpoint_handler_v1_conversations_get",
        summary="Conversations List Endpoint Handler V1",
        responses=succeeds(_LIST) | ACCESS | _BROKEN,
        response_model=ConversationsListResponse,
    )
    async def conversations(
        caller: Annotated[Caller, Depends(callers.may("list_conversations"))],
    ) -> Response:
        """List the caller's conversations, the oldest first; the latest 10,000 of them."""
        with _of_database():
            found = await histories.list(caller)
        return await details(found)

    @router.get(
        "/v1/conversations/{conversation_id}",
        operation_id="get_conversation_endpoint_handler_v1_conversations__conversation_id__get",
        summary="Conversation Get Endpoint Handler V1",
        responses=succeeds(HISTORY) | _ONE | not_found("conversation"),
        response_model=ConversationResponse,
    )
    async def conversation(
        conversation_id: str,
        caller: Annotated[Caller, Depends(callers.may("get_conversation"))],
    ) -> Response:
        """Return what was said in a conversation; a turn that still runs is not part of it yet."""
        wanted = conversation_id_in(conversation_id)
        with _of_database():
            turns = await histories.turns(await histories.find(caller, wanted))
        return await history(wanted, turns)


def _add_changing(router: APIRouter, histories: Histories, callers: Callers) -> None:
    @router.delete(
        "/v1/conversations/{conversation_id}",
        operation_id=(
            "delete_conversation_endpoint_handler_v1_conversations__conversation_id__delete"
        ),
        summary="Conversation Delete Endpoint Handler V1",
        responses=succeeds_as(DELETED) | _ONE,
    )
    async def delete(
        conversation_id: str,
        caller: Annotated[Caller, Depends(callers.may("delete_conversation"))],
    ) -> ConversationDeleteResponse:
        """Delete a conversation with its tasks, those that run too; what is not there is deleted already."""
        wanted = conversation_id_in(conversation_id)
        with _of_database():
            return await deleted(wanted, histories.delete(caller, wanted))

    @router.put(
        "/v1/conversations/{conversation_id}",
        operation_id="update_conversation_endpoint_handler_v1_conversations__conversation_id__put",
        summary="Conversation Update Endpoint Handler V1",
        responses=succeeds(UPDATED) | _ONE | not_found("conversation"),
    )
    async def update(
        conversation_id: str,
        change: ConversationUpdateRequest,
        caller: Annotated[Caller, Depends(callers.may("update_conversation"))],
    ) -> ConversationUpdateResponse:
        """Name the topic of a conversation."""
        wanted = conversation_id_in(conversation_id)
        with _of_database():
            found = await histories.find(caller, wanted, QUERY)
            await histories.set_topic(found.caller, found.context_id, change.topic_summary)
        return updated(wanted)


@contextmanager
def _of_database() -> Iterator[None]:
    """Answer as LCS for a database that cannot be asked."""
    try:
        yield
    except StateError as exc:
        logger.warning("Conversations cannot be read or written", exc_info=True)
        raise Answered(500, "Database query failed", "Failed to query the database") from exc
