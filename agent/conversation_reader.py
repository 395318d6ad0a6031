"""What was said in a conversation, or in one task, read from what is stored of the tasks."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from agent.conversation_turns import TurnLog, only_turn
from agent.errors import StateError
from agent.model import SETTLED, Role, Task, TaskState
from agent.replay import events

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from a2a_state.histories import ContextKey, ConversationSearch, TaskBody, TaskPlace
    from agent.conversation_turns import Turn

BATCH = 32
"""Most tasks that are read at once."""

_LARGE = 64 * 1024
_decode = msgspec.json.Decoder(Task).decode


class ConversationReader:
    """Reads turns; one that still runs is none yet."""

    def __init__(self, search: ConversationSearch, most_bytes: int) -> None:
        """``most_bytes``, of tasks as they are stored, end a history; one task alone may be larger."""
        self._search = search
        self._most_bytes = most_bytes

    async def of_context(self, context: ContextKey) -> list[Turn]:
        """Return the turns of a context in the order in which they began: the latest, if not all fit."""
        turns: list[Turn] = []
        for batch in _batches(await self._search.tasks(context), self._most_bytes):
            turns += await self._of_tasks(context.owner, context.tenant, batch)
        return sorted(turns, key=lambda turn: (turn.started_at, turn.task_id))

    async def _of_tasks(self, owner: str, tenant: str, places: Sequence[TaskPlace]) -> list[Turn]:
        followed_up = [place for place in places if (place.messages or 1) > 1]
        others = [
            place.task_id
            for place in places
            if place not in followed_up and TaskState(place.state) in SETTLED
        ]
        turns: list[Turn] = []
        for body in await self._search.bodies(owner, tenant, others) if others else ():
            turns += await self.of_body(owner, tenant, body)
        for place in followed_up:
            turns += await self._of_log(owner, tenant, place.task_id)
        return turns

    async def of_body(self, owner: str, tenant: str, stored: TaskBody) -> list[Turn]:
        """Return the turns of a task as it is stored."""
        try:
            task = _decode(stored.body)
        except msgspec.MsgspecError as exc:
            raise StateError from exc
        if len(stored.body) > _LARGE:
            await asyncio.sleep(0)  # others have their turn
        if sum(message.role is Role.USER for message in task.history) > 1:
            return await self._of_log(owner, tenant, task.id)
        turn = only_turn(task, stored.created_at)
        return [] if turn is None else [turn]

    async def _of_log(self, owner: str, tenant: str, task_id: str) -> list[Turn]:
        """Return the turns of a task to which several messages were sent: its log knows when each was."""
        turns: deque[Turn] = deque()
        log, size, after = TurnLog(), 0, 0
        while rows := await self._search.log(owner, tenant, task_id, after):
            for last_seq, body in rows:
                after = last_seq
                for turn in _heard(log, body):
                    turns.append(turn)
                    size += turn.size
            while size > self._most_bytes and len(turns) > 1:
                size -= turns.popleft().size
        return list(turns)


def _heard(log: TurnLog, body: bytes) -> list[Turn]:
    try:
        return [turn for event in events(body) if (turn := log.hear(event)) is not None]
    except msgspec.MsgspecError as exc:
        raise StateError from exc


def _batches(places: Sequence[TaskPlace], room: int) -> Iterator[list[TaskPlace]]:
    """Give the tasks that there is room for, the latest first; no batch is larger than the room either."""
    batch: list[TaskPlace] = []
    for place in places:
        if batch and len(batch) == BATCH:
            yield batch
            batch = []
        batch.append(place)
        room -= place.size
        if room <= 0:
            break
    if batch:
        yield batch
