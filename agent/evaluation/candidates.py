"""Who is evaluated: answers rows, one after another or several at once."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from agent.agents.base import NewTurn
from agent.errors import AgentError, InvalidAgentResponse, TurnFailed
from agent.evaluation.config import AgentCandidate, ModelCandidate
from agent.evaluation.row import text_in
from agent.stacks import Inference
from agent.stacks.single_turn import Declined

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from agent.agents.base import AgentsApi
    from agent.caller import Caller
    from agent.evaluation.row import ChatMessage, Row
    from agent.inferences import Inferences

type Json = Any

logger = logging.getLogger(__name__)

FORGET_SECONDS = 5.0
SEARCH_TOOL = "knowledge_search"
NEEDS_TOOLS = "The agent asks for results of tools that its caller runs: there is no caller."


class Candidate(Protocol):
    """Answers rows; ``agent_id`` is the agent that was made for that, if one was."""

    @property
    def agent_id(self) -> str | None:
        """See the class."""

    async def answer(self, row: Row) -> Json:
        """Return ``{"generated_answer"}``, and ``context`` where the answer was taken from documents."""


class ModelAnswers:
    """A model: each row is a question of its own."""

    agent_id = None

    def __init__(self, caller: Caller, candidate: ModelCandidate, inferences: Inferences) -> None:
        """Nothing is asked."""
        self._caller = caller
        self._candidate = candidate
        self._inferences = inferences
        told = candidate.system_message
        field = "benchmark_config.eval_candidate.system_message"
        self._told = "" if told is None else text_in(told.content, field)

    async def answer(self, row: Row) -> Json:
        """See ``Candidate``."""
        messages = row.messages()
        system = [message.content for message in messages if message.role == "system"]
        asked = Inference(
            text=_spoken([message for message in messages if message.role != "system"]),
            instructions="\n\n".join(text for text in (self._told, *system) if text),
            owner=self._caller.owner,
            model=self._candidate.model,
            sampling=self._candidate.sampling,
        )
        return {"generated_answer": await said(self._inferences, asked)}


class AgentAnswers:
    """An agent: each row is the one turn of a session, which is deleted with its answer.

    As with Llama Stack, it hears what users say: it has instructions of its own.
    """

    def __init__(self, caller: Caller, agent_id: str, agents: AgentsApi) -> None:
        """Nothing is asked."""
        self._caller = caller
        self.agent_id = agent_id
        self._agents = agents

    async def answer(self, row: Row) -> Json:
        """See ``Candidate``."""
        spoken = [message for message in row.messages() if message.role == "user"]
        turn = NewTurn(messages=tuple(_user_message(message) for message in spoken))
        caller, agent_id = self._caller, self.agent_id
        made = await self._agents.create_session(caller, agent_id, row.place)
        session_id = made["session_id"]
        try:
            return await self._turn(session_id, turn)
        finally:
            await forget(self._agents.delete_session(caller, agent_id, session_id))

    async def _turn(self, session_id: str, turn: NewTurn) -> Json:
        payload: Json = None
        made = await self._agents.create_turn(self._caller, self.agent_id, session_id, turn)
        async with aclosing(made):
            async for chunk in made.chunks():
                payload = chunk["event"]["payload"]
        match payload:
            case {"event_type": "turn_complete", "turn": answered}:
                return _generation(answered)
            case {"event_type": "turn_awaiting_input"}:
                raise TurnFailed(NEEDS_TOOLS)
            case _:
                raise InvalidAgentResponse


async def said(inferences: Inferences, asked: Inference) -> str:
    """Return what a model says, or what a shield says in its place; raises what ``infer`` does else."""
    try:
        return (await inferences.infer(asked)).text
    except Declined as exc:
        return exc.message


@asynccontextmanager
async def answering(
    caller: Caller,
    candidate: ModelCandidate | AgentCandidate,
    inferences: Inferences,
    agents: AgentsApi,
) -> AsyncIterator[Candidate]:
    """Give what answers; an agent is made for that, and deleted afterwards."""
    if isinstance(candidate, ModelCandidate):
        yield ModelAnswers(caller, candidate, inferences)
        return
    made = await agents.create(caller, candidate.config)
    agent_id = made["agent_id"]
    try:
        yield AgentAnswers(caller, agent_id, agents)
    finally:
        await forget(agents.delete(caller, agent_id))


async def forget(deletion: Any) -> None:
    """Delete what was made for an answer; that it fails is no reason to lose the answer."""
    try:
        async with asyncio.timeout(FORGET_SECONDS):
            await deletion
    except (AgentError, TimeoutError):
        logger.warning("What an evaluation made could not be deleted", exc_info=True)


def _user_message(message: ChatMessage) -> Json:
    return {"role": "user", "content": message.content}


def _spoken(messages: Sequence[ChatMessage]) -> str:
    """Return what is asked as one text: who said what, where it is not the user alone."""
    if all(message.role == "user" for message in messages):
        return "\n\n".join(message.content for message in messages)
    return "\n\n".join(f"{message.role}: {message.content}" for message in messages)


def _generation(turn: Json) -> Json:
    answer = {"generated_answer": _text(turn["output_message"]["content"])}
    for step in turn.get("steps", ()):
        for response in step.get("tool_responses") or ():
            if response.get("tool_name") == SEARCH_TOOL:
                answer["context"] = _text(response.get("content") or "")
    return answer


def _text(content: Json) -> str:
    items = content if isinstance(content, list) else [content]
    texts = (item if isinstance(item, str) else item.get("text", "") for item in items)
    return " ".join(texts)
