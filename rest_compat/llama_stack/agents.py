"""``/v1alpha/agents``: agents are made, listed, described and deleted."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from agent.agents.base import AgentsApi
from agent.caller import Caller
from agent.default_model import CheckModels
from rest_compat.callers import Callers
from rest_compat.llama_stack.agents_config import CreateAgentRequest
from rest_compat.llama_stack.agents_ids import AgentId
from rest_compat.llama_stack.agents_models import Agent, AgentCreateResponse
from rest_compat.llama_stack.paging import Limit, PaginatedResponse, Start, page_of
from rest_compat.llama_stack.responses import EMPTY, ERRORS, NOT_FOUND, TOO_LARGE, answer

TAG = "Agents"


def make_agents(agents: AgentsApi, callers: Callers, check_models: CheckModels) -> APIRouter:
    """Return the routes; ``check_models`` is asked for the model of each new agent."""
    router = callers.router(TAG)
    _add_all(router, agents, callers, check_models)
    _add_one(router, agents, callers)
    return router


def _add_all(
    router: APIRouter, agents: AgentsApi, callers: Callers, check_models: CheckModels
) -> None:
    user = Annotated[Caller, Depends(callers.may("agents"))]

    @router.get(
        "/v1alpha/agents",
        operation_id="list_agents_v1alpha_agents_get",
        summary="List all agents.",
        response_model=PaginatedResponse,
        responses=ERRORS,
    )
    async def list_agents(caller: user, start_index: Start = None, limit: Limit = None) -> Response:
        """List the agent of the server, and then those that the caller has made."""
        return answer(await agents.list(caller, *page_of(start_index, limit)))

    @router.post(
        "/v1alpha/agents",
        operation_id="create_agent_v1alpha_agents_post",
        summary="Create an agent with the given configuration.",
        response_model=AgentCreateResponse,
        responses=ERRORS | TOO_LARGE,
    )
    async def create_agent(caller: user, asked: CreateAgentRequest) -> Response:
        """Create an agent. Whether there is such a model is found out when a turn is made."""
        config = asked.agent_config.model_dump(mode="json")
        await check_models(caller, [config["model"]])
        return answer(await agents.create(caller, config))


def _add_one(router: APIRouter, agents: AgentsApi, callers: Callers) -> None:
    user = Annotated[Caller, Depends(callers.may("agents"))]

    @router.get(
        "/v1alpha/agents/{agent_id}",
        operation_id="get_agent_v1alpha_agents__agent_id__get",
        summary="Describe an agent by its ID.",
        response_model=Agent,
        responses=ERRORS | NOT_FOUND,
    )
    async def get_agent(caller: user, agent_id: AgentId) -> Response:
        """Describe an agent by its ID."""
        return answer(await agents.get(caller, agent_id))

    @router.delete(
        "/v1alpha/agents/{agent_id}",
        operation_id="delete_agent_v1alpha_agents__agent_id__delete",
        summary="Delete an agent by its ID and its associated sessions and turns.",
        status_code=204,
        responses=EMPTY | ERRORS,
    )
    async def delete_agent(caller: user, agent_id: AgentId) -> Response:
        """Delete an agent with its sessions and turns. The agent of the server stays."""
        await agents.delete(caller, agent_id)
        return Response(status_code=204)
