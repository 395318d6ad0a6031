"""An agents API that does as it is told, and the application around it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.middleware import Middleware

from agent.errors import AgentError, PermissionDenied, ResourceNotFound
from agent.settings.own import Limits
from rest_compat.callers import Callers
from rest_compat.llama_stack.agents import make_agents
from rest_compat.llama_stack.problems import llama_stack_response, refuse
from rest_compat.llama_stack.sessions import make_sessions
from rest_compat.llama_stack.turns import make_turns
from rest_compat.problems import LastResort
from tests.fakes.gates import open_gate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from agent.agents.base import Json, NewTurn
    from agent.auth.gate import Gate
    from agent.caller import Caller

    type Script = Sequence[Json | Exception | asyncio.Event]

MISSING = "missing"
"""The id of what is not there."""
FORBIDDEN = "forbidden"
"""The model that nobody may choose."""
WHEN = "2026-01-02T03:04:05.000006Z"


def step_of(turn_id: str, text: str) -> Json:
    """Return a step in which a model has answered."""
    return {
        "turn_id": turn_id,
        "step_id": "step-1",
        "started_at": WHEN,
        "completed_at": WHEN,
        "step_type": "inference",
        "model_response": {
            "role": "assistant",
            "content": text,
            "stop_reason": "end_of_turn",
            "tool_calls": [],
        },
    }


def turn_of(turn_id: str = "turn-1", text: str = "Hello") -> Json:
    """Return a turn of one step."""
    step = step_of(turn_id, text)
    return {
        "turn_id": turn_id,
        "session_id": "session-1",
        "input_messages": [{"role": "user", "content": "hi", "context": None}],
        "steps": [step],
        "output_message": step["model_response"],
        "output_attachments": [],
        "started_at": WHEN,
        "completed_at": WHEN,
    }


def chunk_of(event_type: str, **payload: Any) -> Json:
    """Return a chunk of a stream."""
    return {"event": {"payload": {"event_type": event_type, **payload}}}


def text_chunk(text: str) -> Json:
    """Return a chunk with a piece of an answer."""
    delta = {"type": "text", "text": text}
    return chunk_of("step_progress", step_type="inference", step_id="step-1", delta=delta)


def end_chunk(turn: Json | None = None, event_type: str = "turn_complete") -> Json:
    """Return the last chunk of a turn."""
    return chunk_of(event_type, turn=turn or turn_of())


class ScriptedStream:
    """Yields the chunks of a script; raises its errors, and waits for its events."""

    def __init__(self, script: Script) -> None:
        """Tell ``script``, from one end to the other."""
        self.closed = 0
        self._script = script

    async def chunks(self) -> AsyncIterator[Json]:
        """Yield what the script has."""
        for each in self._script:
            if isinstance(each, Exception):
                raise each
            if isinstance(each, asyncio.Event):
                await each.wait()
            else:
                yield each

    async def aclose(self) -> None:
        """Count."""
        self.closed += 1


class FakeAgentsApi:
    """Remembers what it was asked; everything is there but what is called missing."""

    def __init__(self) -> None:
        """Know nothing."""
        self.forget()

    def forget(self) -> None:
        """Begin anew, with a turn that completes."""
        self.script: Script = (text_chunk("Hello"), end_chunk())
        self.calls: list[tuple[Any, ...]] = []
        self.streams: list[ScriptedStream] = []
        self.error: AgentError | None = None

    @property
    def last(self) -> tuple[Any, ...]:
        """What was asked last: the name of the method, and all but the caller."""
        return self.calls[-1]

    def _note(self, name: str, *given: Any) -> None:
        self.calls.append((name, *given))
        if MISSING in given:
            raise ResourceNotFound(
                ("agent", "session", "turn", "step")[given.index(MISSING)], MISSING
            )
        if self.error is not None:
            raise self.error

    def _begin(self) -> ScriptedStream:
        self.streams.append(ScriptedStream(self.script))
        return self.streams[-1]

    async def check_models(self, caller: Caller, wanted: Iterable[str]) -> None:
        """Let everybody choose every model but one."""
        del caller
        if FORBIDDEN in wanted:
            raise PermissionDenied("Not that model.")

    async def create(self, caller: Caller, agent_config: Json) -> Json:
        """Note it."""
        del caller
        self._note("create", agent_config)
        return {"agent_id": "agent-1"}

    async def list(self, caller: Caller, start: int, limit: int) -> Json:
        """Note it."""
        del caller
        self._note("list", start, limit)
        return {"data": [], "has_more": False, "url": "/v1alpha/agents"}

    async def get(self, caller: Caller, agent_id: str) -> Json:
        """Return the agent that was made last."""
        del caller
        config = [call[1] for call in self.calls if call[0] == "create"][-1:]
        self._note("get", agent_id)
        return {"agent_id": agent_id, "agent_config": config and config[0], "created_at": WHEN}

    async def delete(self, caller: Caller, agent_id: str) -> None:
        """Note it."""
        del caller
        self._note("delete", agent_id)

    async def create_session(self, caller: Caller, agent_id: str, name: str) -> Json:
        """Note it."""
        del caller
        self._note("create_session", agent_id, name)
        return {"session_id": "session-1"}

    async def list_sessions(self, caller: Caller, agent_id: str, start: int, limit: int) -> Json:
        """Note it."""
        del caller
        self._note("list_sessions", agent_id, start, limit)
        return {"data": [], "has_more": False, "url": "/v1alpha/agents/{agent_id}/sessions"}

    async def get_session(
        self, caller: Caller, agent_id: str, session_id: str, turn_ids: Sequence[str] | None
    ) -> Json:
        """Return a session with the turns that are named."""
        del caller
        self._note("get_session", agent_id, session_id, turn_ids)
        turns = [turn_of(each) for each in turn_ids or ("turn-1",)]
        return {
            "session_id": session_id,
            "session_name": "a session",
            "turns": turns,
            "started_at": WHEN,
        }

    async def delete_session(self, caller: Caller, agent_id: str, session_id: str) -> None:
        """Note it."""
        del caller
        self._note("delete_session", agent_id, session_id)

    async def create_turn(
        self, caller: Caller, agent_id: str, session_id: str, turn: NewTurn
    ) -> ScriptedStream:
        """Begin the script."""
        del caller
        self._note("create_turn", agent_id, session_id, turn)
        return self._begin()

    async def resume_turn(
        self,
        caller: Caller,
        agent_id: str,
        session_id: str,
        turn_id: str,
        tool_responses: Sequence[Json],
    ) -> ScriptedStream:
        """Begin the script."""
        del caller
        self._note("resume_turn", agent_id, session_id, turn_id, tool_responses)
        return self._begin()

    async def get_turn(self, caller: Caller, agent_id: str, session_id: str, turn_id: str) -> Json:
        """Return a turn."""
        del caller
        self._note("get_turn", agent_id, session_id, turn_id)
        return turn_of(turn_id)

    async def get_step(
        self, caller: Caller, agent_id: str, session_id: str, turn_id: str, step_id: str
    ) -> Json:
        """Return a step."""
        del caller
        self._note("get_step", agent_id, session_id, turn_id, step_id)
        return {"step": step_of(turn_id, "Hello") | {"step_id": step_id}}


def agents_app(
    agents: FakeAgentsApi, gate: Gate | None = None, limits: Limits | None = None
) -> FastAPI:
    """Return an application with the routes of agents and no other."""
    app = FastAPI(
        middleware=[Middleware(LastResort, llama_stack_response)],
        exception_handlers={AgentError: refuse, RequestValidationError: refuse},
    )
    callers = Callers(gate or open_gate(), limits or Limits())
    for router in (
        make_agents(agents, callers, agents.check_models),
        make_sessions(agents, callers),
        make_turns(agents, callers, keep_alive=15),
    ):
        app.include_router(router)
    return app
