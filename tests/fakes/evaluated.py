"""What evaluations work with: rows, a model and agents that answer as a test says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, override

from agent.errors import ResourceNotFound
from agent.settings import Settings
from agent.stacks import BaseStack, Inference, Inferred, Model

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from agent.agents.base import NewTurn
    from agent.caller import Caller

    type Reply = Callable[[Inference], str]

MODEL = "mock/llm"
CANDIDATE: dict[str, Any] = {"type": "model", "model": MODEL, "sampling_params": {"max_tokens": 8}}
CONFIG: dict[str, Any] = {"eval_candidate": CANDIDATE}
AGENT: dict[str, Any] = {
    "eval_candidate": {"type": "agent", "config": {"model": MODEL, "instructions": "x"}}
}


def echo(asked: Inference) -> str:
    """Say what was asked."""
    return f"Echo: {asked.text}"


def memory(**changes: Any) -> Settings:
    """Return settings with the state in memory."""
    given: dict[str, Any] = {"a2a_state": {"memory": True}, **changes}
    return Settings.model_validate(given)


def row(number: int, **columns: Any) -> dict[str, Any]:
    """Return a row whose expected answer is what ``echo`` says."""
    asked = f'[{{"role": "user", "content": "q{number}"}}]'
    query, expected = f"q{number}", f"Echo: q{number}"
    return {
        "input_query": query,
        "expected_answer": expected,
        "chat_completion_input": asked,
        **columns,
    }


class ModelStack(BaseStack):
    """Models that say what ``reply`` does; ``holding`` questions, by their text, are never answered."""

    def __init__(self, reply: Reply = echo, holding: frozenset[str] = frozenset()) -> None:
        super().__init__(memory())
        self.reply = reply
        self.holding = holding
        self.asked: list[Inference] = []
        self.is_held = asyncio.Event()
        self.given_up = 0

    @override
    async def infer(self, request: Inference) -> Inferred:
        """Answer, or wait for the end."""
        self.asked.append(request)
        if request.text in self.holding:
            self.is_held.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.given_up += 1
        return Inferred(self.reply(request), request.model)

    @override
    async def models(self) -> Sequence[Model]:
        """Return the one."""
        return (Model(MODEL, "mock"),)

    @property
    def texts(self) -> list[str]:
        """What was asked."""
        return [each.text for each in self.asked]


class RowsOfDatasets:
    """Datasets of everybody; ``reads`` are from where each was read."""

    def __init__(self, **datasets: list[dict[str, Any]]) -> None:
        self.datasets = datasets

    async def get(self, caller: Caller, dataset_id: str) -> Any:
        """Return a dataset."""
        del caller
        return {"identifier": dataset_id, "rows": len(self._of(dataset_id))}

    async def pages(
        self, caller: Caller, dataset_id: str, start: int = 0, size: int = 200
    ) -> AsyncIterator[Sequence[Any]]:
        """Yield the rows."""
        del caller
        rows = self._of(dataset_id)
        for first in range(start, len(rows), size):
            yield rows[first : first + size]

    def _of(self, dataset_id: str) -> list[dict[str, Any]]:
        if dataset_id not in self.datasets:
            raise ResourceNotFound("dataset", dataset_id)
        return self.datasets[dataset_id]


class _Turn:
    def __init__(self, text: str) -> None:
        self._text = text

    async def chunks(self) -> AsyncIterator[Any]:
        """Yield the beginning and the end."""
        yield {"event": {"payload": {"event_type": "turn_start", "turn_id": "t"}}}
        found = {"tool_name": "knowledge_search", "content": "a passage"}
        turn = {
            "output_message": {"role": "assistant", "content": f"Echo: {self._text}"},
            "steps": [{"step_type": "tool_execution", "tool_responses": [found]}],
        }
        yield {"event": {"payload": {"event_type": "turn_complete", "turn": turn}}}

    async def aclose(self) -> None:
        """Nothing is open."""


class EchoAgents:
    """Agents that say what they are told; ``left`` are the agents and sessions that are there."""

    def __init__(self) -> None:
        self.left: set[str] = set()
        self.made = 0
        self.makers: list[Caller] = []

    async def create(self, caller: Caller, _agent_config: Any) -> Any:
        """Make an agent."""
        self.makers.append(caller)
        return {"agent_id": self._make("agent")}

    async def create_session(self, _caller: Caller, _agent_id: str, _name: str) -> Any:
        """Begin a session."""
        return {"session_id": self._make("session")}

    async def create_turn(
        self, _caller: Caller, agent_id: str, session_id: str, turn: NewTurn
    ) -> _Turn:
        """Answer."""
        assert {agent_id, session_id} <= self.left
        return _Turn(" ".join(message["content"] for message in turn.messages))

    async def delete_session(self, _caller: Caller, _agent_id: str, session_id: str) -> None:
        """Delete a session."""
        self.left.discard(session_id)

    async def delete(self, _caller: Caller, agent_id: str) -> None:
        """Delete an agent."""
        self.left.discard(agent_id)

    def _make(self, kind: str) -> str:
        self.made += 1
        self.left.add(f"{kind}-{self.made}")
        return f"{kind}-{self.made}"
