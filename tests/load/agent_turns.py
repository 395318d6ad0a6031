"""Turns of Llama Stack's agents API, streamed: what one costs on the embedded stack.

Each connection has a session of its own; a session takes some turns, then another begins, as the model
is given what was said before.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.load.connection import Connection, WrongAnswerError
from tests.load.model import NAME, PIECES

if TYPE_CHECKING:
    from tests.load.servers import Running

TURNS_PER_SESSION = 5
LLAMA_STACK_MS = 50.0
"""Milliseconds of processor time that a turn took Llama Stack 0.3.5 at least, measured alike: an instant
model, three pieces of text."""

_CONFIG = {"model": NAME, "instructions": "Answer.", "enable_session_persistence": True}


class Cost(NamedTuple):
    """What turns took: of the server's processor in milliseconds each, and how many a second there were."""

    cpu_ms: float
    per_second: float


async def measure(running: Running, *, turns: int, connections: int) -> Cost:
    """Run that many turns in sessions that are there, after some turns that nobody counts."""
    opened = [_Agent(running.port) for _ in range(connections)]
    try:
        await asyncio.gather(*(agent.begin(TURNS_PER_SESSION) for agent in opened))
        await asyncio.gather(*(agent.run() for agent in opened))
        each = turns // connections
        await asyncio.gather(*(agent.begin(each) for agent in opened))
        cpu, started = running.cpu_seconds(), time.perf_counter()
        await asyncio.gather(*(agent.run() for agent in opened))
        seconds = time.perf_counter() - started
        spent, done = running.cpu_seconds() - cpu, each * connections
        return Cost(spent / done * 1000, done / seconds)
    finally:
        for agent in opened:
            agent.close()


class _Agent:
    """One agent on one connection, which checks all that it is answered."""

    def __init__(self, port: int) -> None:
        self._connection = Connection(port)
        self._agent_id = ""
        self._turns: list[str] = []

    def close(self) -> None:
        self._connection.close()

    async def begin(self, turns: int) -> None:
        """Make the sessions for so many turns."""
        if not self._agent_id:
            made = await self._post("/v1alpha/agents", {"agent_config": _CONFIG})
            self._agent_id = json.loads(made)["agent_id"]
        sessions = f"/v1alpha/agents/{self._agent_id}/session"
        for _ in range(0, turns, TURNS_PER_SESSION):
            begun = await self._post(sessions, {"session_name": "bench"})
            turn = f"{sessions}/{json.loads(begun)['session_id']}/turn"
            self._turns += [turn] * TURNS_PER_SESSION
        del self._turns[turns:]

    async def run(self) -> None:
        """Run them."""
        turns, self._turns = self._turns, []
        for number, path in enumerate(turns):
            await self._turn(path, f"hello {number}")

    async def _turn(self, path: str, text: str) -> None:
        body = {"messages": [{"role": "user", "content": text}], "stream": True}
        answer = await self._post(path, body)
        events = [json.loads(line[6:]) for line in answer.split(b"\n\n") if line]
        last = events[-1]["event"]["payload"]
        if last["event_type"] != "turn_complete":
            raise WrongAnswerError(f"the turn ended with {last['event_type']}")
        if last["turn"]["output_message"]["content"] != "".join(PIECES):
            raise WrongAnswerError(f"the answer was {last['turn']['output_message']}")

    async def _post(self, path: str, body: Any) -> bytes:
        return await self._connection.post(path, {}, json.dumps(body).encode())
