"""``/v1alpha/agents/{agent_id}/session``: sessions are begun, listed, told and deleted."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from agent.agents.base import AgentsApi
from agent.caller import Caller
from rest_compat.callers import Callers
from rest_compat.llama_stack.agents_ids import AgentId, SessionId
from rest_compat.llama_stack.paging import Limit, PaginatedResponse, Start, page_of
from rest_compat.llama_stack.responses import EMPTY, ERRORS, NOT_FOUND, TOO_LARGE, answer
from rest_compat.llama_stack.sessions_models import (
    AgentSessionCreateResponse,
    CreateAgentSessionRequest,
    Session,
)
from rest_compat.llama_stack.turns_ids import TurnIds, ids_of_body

TAG = "Agents"


def make_sessions(agents: AgentsApi, callers: Callers) -> APIRouter:
    """Return the routes."""
    router = callers.router(TAG)
    _add_all(router, agents, callers)
    _add_one(router, agents, callers)
    return router


def _add_all(router: APIRouter, agents: AgentsApi, callers: Callers) -> None:
    user = Annotated[Caller, Depends(callers.may("agents"))]

    @router.post(
        "/v1alpha/agents/{agent_id}/session",
        operation_id="create_agent_session_v1alpha_agents__agent_id__session_post",
        summary="Create a new session for an agent.",
        response_model=AgentSessionCreateResponse,
        responses=ERRORS | NOT_FOUND | TOO_LARGE,
    )
    async def create_session(
        caller: user, agent_id: AgentId, asked: CreateAgentSessionRequest
    ) -> Response:
        """Create a new session for an agent."""
        return answer(await agents.create_session(caller, agent_id, asked.session_name))

    @router.get(
        "/v1alpha/agents/{agent_id}/sessions",
        operation_id="list_agent_sessions_v1alpha_agents__agent_id__sessions_get",
        summary="List all session(s) of a given agent.",
        response_model=PaginatedResponse,
        responses=ERRORS | NOT_FOUND,
    )
    async def list_sessions(
        caller: user, agent_id: AgentId, start_index: Start = None, limit: Limit = None
    ) -> Response:
        """List the sessions of an agent, without their turns."""
        start, most = page_of(start_index, limit)
        return answer(await agents.list_sessions(caller, agent_id, start, most))


def _add_one(router: APIRouter, agents: AgentsApi, callers: Callers) -> None:
    user = Annotated[Caller, Depends(callers.may("agents"))]

    @router.get(
        "/v1alpha/agents/{agent_id}/session/{session_id}",
        operation_id="get_agents_session_v1alpha_agents__agent_id__session__session_id__get",
        summary="Retrieve an agent session by its ID.",
        response_model=Session,
        responses=ERRORS | NOT_FOUND,
    )
    async def get_session(
        caller: user,
        request: Request,
        agent_id: AgentId,
        session_id: SessionId,
        turn_ids: TurnIds = None,
    ) -> Response:
        """Retrieve a session with its turns, or with those of them that are named."""
        wanted = turn_ids or ids_of_body(await request.body()) or None
        return answer(await agents.get_session(caller, agent_id, session_id, wanted))

    @router.delete(
        "/v1alpha/agents/{agent_id}/session/{session_id}",
        operation_id="delete_agents_session_v1alpha_agents__agent_id__session__session_id__delete",
        summary="Delete an agent session by its ID and its associated turns.",
        status_code=204,
        responses=EMPTY | ERRORS,
    )
    async def delete_session(caller: user, agent_id: AgentId, session_id: SessionId) -> Response:
        """Delete a session with its turns."""
        await agents.delete_session(caller, agent_id, session_id)
        return Response(status_code=204)
