"""Tasks as turns: read from what is stored of them, with the steps that the stack keeps of each."""

from __future__ import annotations

import asyncio
from itertools import batched
from typing import TYPE_CHECKING

import msgspec

from a2a_state.histories import ContextKey
from agent.agents.asked import calls_in, question_of
from agent.agents.attachments import attachments_of
from agent.agents.content import input_messages
from agent.agents.told import ToldSteps
from agent.agents.wire import began_at, kept_step, output_of, turn_of, written
from agent.clock import milliseconds
from agent.conversation_turns import shown
from agent.errors import StateError
from agent.model import Role, Task, TaskState
from agent.replay import events

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from a2a_state.contexts import Context
    from a2a_state.histories import ConversationSearch, TaskBody, TaskPlace
    from a2a_state.task_logs import LogRow, TaskLogs
    from agent.agents.base import Json
    from agent.caller import Caller
    from agent.conversations import Conversations

TURNS = frozenset({TaskState.COMPLETED, TaskState.REJECTED, TaskState.INPUT_REQUIRED})
"""Tasks that are turns: what failed, was canceled or runs is none, as with Llama Stack."""

BATCH = 32
"""Most tasks that are read at once."""

_LARGE = 64 * 1024
_decode = msgspec.json.Decoder(Task).decode


class TurnView:
    """Shows turns."""

    def __init__(
        self,
        search: ConversationSearch,
        logs: TaskLogs,
        conversations: Conversations,
        most_bytes: int,
    ) -> None:
        """``most_bytes``, as tasks are stored, are read of one session; one turn may be larger."""
        self._search = search
        self._logs = logs
        self._conversations = conversations
        self._most_bytes = most_bytes

    async def of_session(
        self, caller: Caller, context: Context, session_id: str, turn_ids: Collection[str] | None
    ) -> list[Json]:
        """Return the turns of a session in their order: the latest, if not all may be read at once.

        With ``turn_ids`` only those of them.
        """
        key = ContextKey(*context.key)
        places = [
            place
            for place in await self._search.tasks(key)
            if TaskState(place.state) in TURNS and (turn_ids is None or place.task_id in turn_ids)
        ]
        places, room = _fitting(places, self._most_bytes)
        bodies = await self._bodies(context, [place.task_id for place in places])
        tasks = {body.task_id: (await _task(body), body.created_at) for body in bodies}
        kept = await self._kept(caller, context, [task for task, _ in tasks.values()])
        there = [place.task_id for place in places if place.task_id in tasks]
        turns: list[Json] = []
        for some in batched(there, BATCH):
            if room <= 0 and turns:
                break
            made = await self._made(context, [each for each in some if each not in kept])
            for task_id in some:
                task, created_at = tasks[task_id]
                steps, size = made[task_id] if task_id in made else (kept[task_id], 0)
                room -= size
                turns.append(shown_turn(task, session_id, steps, created_at))
        return sorted(turns, key=lambda turn: (turn["started_at"], turn["turn_id"]))

    async def turn(
        self, caller: Caller, context: Context, session_id: str, turn_id: str
    ) -> Json | None:
        """Return a turn of a session; None for what is none."""
        bodies = await self._bodies(context, [turn_id])
        task = await _task(bodies[0]) if bodies else None
        if task is None or task.context_id != context.context_id or task.status.state not in TURNS:
            return None
        steps = (await self._kept(caller, context, [task])).get(task.id)
        if steps is None:
            steps, _ = (await self._made(context, [task.id]))[task.id]
        return shown_turn(task, session_id, steps, bodies[0].created_at)

    async def asked(self, context: Context, turn_id: str) -> Json:
        """Return what a turn asks its caller for; None for what does not wait."""
        bodies = await self._bodies(context, [turn_id])
        task = await _task(bodies[0]) if bodies else None
        if task is None or task.context_id != context.context_id:
            return None
        waits = task.status.state is TaskState.INPUT_REQUIRED
        return (question_of(task) or {}) if waits else None

    async def _bodies(self, context: Context, task_ids: Sequence[str]) -> list[TaskBody]:
        bodies: list[TaskBody] = []
        for start in range(0, len(task_ids), BATCH):
            some = task_ids[start : start + BATCH]
            bodies += await self._search.bodies(context.owner, context.tenant, some)
        return bodies

    async def _kept(
        self, caller: Caller, context: Context, tasks: Sequence[Task]
    ) -> Mapping[str, Sequence[Json]]:
        """Return the steps that the stack keeps, by the ids of tasks."""
        ids = {task.id: str((task.metadata or {}).get("turn_id") or "") for task in tasks}
        wanted = [turn_id for turn_id in ids.values() if turn_id]
        conversation_id = await self._conversations.find(caller, context.context_id)
        if not wanted or conversation_id is None:
            return {}
        steps = await self._conversations.stack.steps(conversation_id, wanted)
        return {
            task_id: [kept_step(task_id, step) for step in steps[turn_id]]
            for task_id, turn_id in ids.items()
            if steps.get(turn_id)
        }

    async def _made(
        self, context: Context, task_ids: Sequence[str]
    ) -> dict[str, tuple[Sequence[Json], int]]:
        """Return the steps that the logs of tasks tell of, and how many bytes each of them took."""
        told = {task_id: ToldSteps(task_id) for task_id in task_ids}
        sizes = dict.fromkeys(task_ids, 0)
        after: LogRow | None = None
        of = (context.owner, context.tenant, task_ids)
        while task_ids and (rows := await self._logs.rows(*of, after)):
            after = rows[-1]
            for row in rows:
                sizes[row.task_id] += len(row.body)
                try:
                    told[row.task_id].hear(events(row.body))
                except msgspec.MsgspecError as exc:
                    raise StateError from exc
            await asyncio.sleep(0)  # others have their turn
        return {each: (told[each].builder.steps, sizes[each]) for each in task_ids}


def shown_turn(task: Task, session_id: str, steps: Sequence[Json], created_at: int) -> Json:
    """Write a task as a turn; ``created_at`` is when it began, unless its id tells that."""
    ended_at = milliseconds(task.status.timestamp)
    times = (written(began_at(task.id, created_at)), written(ended_at))
    first = next((message for message in task.history if message.role is Role.USER), None)
    given = [] if first is None else input_messages(first)
    made = attachments_of(task.artifacts)
    return turn_of(task.id, session_id, given, steps, _output(task, steps), made, times)


def _output(task: Task, steps: Sequence[Json]) -> Json:
    said = "" if task.status.message is None else shown(task.status.message.parts)
    match task.status.state:
        case TaskState.REJECTED:
            return output_of(steps, refusal=said)
        case TaskState.INPUT_REQUIRED:
            return output_of(steps, waiting=calls_in(question_of(task)))
    return output_of(steps, otherwise=said)


def _fitting(places: Sequence[TaskPlace], room: int) -> tuple[list[TaskPlace], int]:
    """Return the tasks that there is room for, the first of all, and the room that is left."""
    taken: list[TaskPlace] = []
    for place in places:
        if taken and room < place.size:
            break
        taken.append(place)
        room -= place.size
    return taken, room


async def _task(body: TaskBody) -> Task:
    try:
        task: Task = _decode(body.body)
    except msgspec.MsgspecError as exc:
        raise StateError from exc
    if len(body.body) > _LARGE:
        await asyncio.sleep(0)  # others have their turn
    return task
