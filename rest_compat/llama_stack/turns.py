"""``/v1alpha/agents/{agent_id}/session/{session_id}/turn``: turns are made, gone on with, and told."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from starlette.requests import Request
from starlette.responses import Response

from agent.agents.base import AgentsApi, TurnStream
from agent.caller import Caller
from rest_compat.awaited import while_awaited
from rest_compat.callers import Callers
from rest_compat.llama_stack.agents_ids import AgentId, SessionId, StepId, TurnId
from rest_compat.llama_stack.responses import ERRORS, NOT_FOUND, TOO_LARGE, Responses, answer
from rest_compat.llama_stack.streamed import collected, told
from rest_compat.llama_stack.turns_messages import (
    CreateAgentTurnRequest,
    ResumeAgentTurnRequest,
)
from rest_compat.llama_stack.turns_models import (
    AgentStepResponse,
    AgentTurnResponseStreamChunk,
    Turn,
)

TAG = "Agents"
_CHUNK = {"$ref": f"#/components/schemas/{AgentTurnResponseStreamChunk.__name__}"}
_MAKES: Responses = {
    200: {
        "description": "If stream=False, returns a Turn object. If stream=True, returns an SSE event "
        "stream of AgentTurnResponseStreamChunk; a turn that fails ends it with an error.",
        "content": {"text/event-stream": {"schema": _CHUNK}},
    }
}


class _WithChunks:
    """Has the schema of chunks in the document, which names it for itself alone."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Tell of both."""
        handler(AgentTurnResponseStreamChunk.__pydantic_core_schema__)
        return handler(schema)


_MADE: Any = Annotated[Turn, _WithChunks()]


def make_turns(agents: AgentsApi, callers: Callers, keep_alive: float) -> APIRouter:
    """Return the routes; a stream says something every ``keep_alive`` seconds."""
    router = callers.router(TAG, takes_texts=True)
    _add_running(router, agents, callers, keep_alive)
    _add_reading(router, agents, callers)
    return router


async def _tell(request: Request, stream: TurnStream, keep_alive: float | None) -> Response:
    """Answer with a turn as it goes on, or when it has ended where ``keep_alive`` is None.

    A turn that nobody waits for any more does not begin.
    """
    if keep_alive is not None:
        return await while_awaited(request.receive, told(stream, keep_alive))
    try:
        return answer(await while_awaited(request.receive, collected(stream)))
    finally:
        await stream.aclose()


def _add_running(router: APIRouter, agents: AgentsApi, callers: Callers, keep_alive: float) -> None:
    asker = Annotated[Caller, Depends(callers.may("query"))]

    @router.post(
        "/v1alpha/agents/{agent_id}/session/{session_id}/turn",
        operation_id="create_agent_turn_v1alpha_agents__agent_id__session__session_id__turn_post",
        summary="Create a new turn for an agent.",
        response_model=_MADE,
        responses=_MAKES | ERRORS | NOT_FOUND | TOO_LARGE,
    )
    async def create_turn(
        caller: asker,
        request: Request,
        agent_id: AgentId,
        session_id: SessionId,
        asked: CreateAgentTurnRequest,
    ) -> Response:
        """Create a new turn for an agent; once begun on this server it goes on without its client."""
        stream = await agents.create_turn(caller, agent_id, session_id, asked.turn())
        return await _tell(request, stream, keep_alive if asked.stream else None)

    @router.post(
        "/v1alpha/agents/{agent_id}/session/{session_id}/turn/{turn_id}/resume",
        operation_id="resume_agent_turn_v1alpha_agents__agent_id__session__session_id__turn"
        "__turn_id__resume_post",
        summary="Resume an agent turn with executed tool call responses.",
        response_model=_MADE,
        responses=_MAKES | ERRORS | NOT_FOUND | TOO_LARGE,
    )
    async def resume_turn(
        caller: asker,
        request: Request,
        agent_id: AgentId,
        session_id: SessionId,
        turn_id: TurnId,
        asked: ResumeAgentTurnRequest,
    ) -> Response:
        """Go on with a turn that waits for tools that the client runs: their responses are sent here."""
        responses = asked.model_dump(mode="json")["tool_responses"]
        stream = await agents.resume_turn(caller, agent_id, session_id, turn_id, responses)
        return await _tell(request, stream, keep_alive if asked.stream else None)


def _add_reading(router: APIRouter, agents: AgentsApi, callers: Callers) -> None:
    reader = Annotated[Caller, Depends(callers.may("agents"))]

    @router.get(
        "/v1alpha/agents/{agent_id}/session/{session_id}/turn/{turn_id}",
        operation_id="get_agents_turn_v1alpha_agents__agent_id__session__session_id__turn"
        "__turn_id__get",
        summary="Retrieve an agent turn by its ID.",
        response_model=Turn,
        responses=ERRORS | NOT_FOUND,
    )
    async def get_turn(
        caller: reader, agent_id: AgentId, session_id: SessionId, turn_id: TurnId
    ) -> Response:
        """Retrieve a turn with its steps."""
        return answer(await agents.get_turn(caller, agent_id, session_id, turn_id))

    @router.get(
        "/v1alpha/agents/{agent_id}/session/{session_id}/turn/{turn_id}/step/{step_id}",
        operation_id="get_agents_step_v1alpha_agents__agent_id__session__session_id__turn"
        "__turn_id__step__step_id__get",
        summary="Retrieve an agent step by its ID.",
        response_model=AgentStepResponse,
        responses=ERRORS | NOT_FOUND,
    )
    async def get_step(
        caller: reader, agent_id: AgentId, session_id: SessionId, turn_id: TurnId, step_id: StepId
    ) -> Response:
        """Retrieve a step of a turn."""
        return answer(await agents.get_step(caller, agent_id, session_id, turn_id, step_id))
