"""Turns over REST: messages to tasks of A2A, one after the other in each session."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from a2a_state.histories import ConversationSearch
from a2a_state.task_logs import TaskLogs
from agent.agent_options import groups_of
from agent.agents.asked import APPROVALS, calls_in
from agent.agents.content import MARKS, Reader, size_of, text_of
from agent.agents.documents import check_types, parts_of
from agent.agents.failures import reworded
from agent.agents.late_turn import LateTurn
from agent.agents.own_sessions import KIND
from agent.agents.turn_stream import Heard, Resumed, RunningTurn
from agent.agents.turn_view import TurnView
from agent.agents.urls import Urls, named_in
from agent.errors import InvalidParams, ResourceNotFound, TaskNotFound
from agent.model import Message, Part, Role, SendRequest
from agent.parts import JSON
from agent.stacks import ToolGroup, TurnOptions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Coroutine, Sequence
    from contextlib import AbstractAsyncContextManager

    from agent.agents.base import Json, NewTurn, TurnStream
    from agent.agents.fetch import Fetch
    from agent.agents.own_sessions import OwnSessions, Session
    from agent.agents.serial import Serial
    from agent.caller import Caller
    from agent.engine import Engine
    from agent.following import Followed
    from agent.settings import Settings


class OwnTurns:
    """Makes, resumes and shows turns."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        sessions: OwnSessions,
        serial: Serial,
        fetch: Fetch,
    ) -> None:
        """Keep what they are made of."""
        limits = settings.limits
        self._limits = limits
        self._service = engine.service
        self._sessions = sessions
        self._serial = serial
        search = ConversationSearch(engine.database)
        logs = TaskLogs(engine.database)
        self._view = TurnView(search, logs, engine.conversations, limits.answer_bytes)
        self._urls = Urls(fetch, limits)

    async def create(
        self, caller: Caller, agent_id: str, session_id: str, turn: NewTurn
    ) -> TurnStream:
        """Return a turn that begins once it is read, and those before it are over."""
        session = await self._sessions.find(caller, agent_id, session_id)
        self._check(turn)
        return LateTurn(self._create(caller, session, turn, _options(turn)))

    async def resume(
        self,
        caller: Caller,
        agent_id: str,
        session_id: str,
        turn_id: str,
        tool_responses: Sequence[Json],
    ) -> TurnStream:
        """Return what goes on, once it is read, with a turn that waits for exactly these responses."""
        session = await self._sessions.find(caller, agent_id, session_id)
        return LateTurn(self._resume(caller, session, turn_id, tool_responses))

    async def of_session(
        self, caller: Caller, session: Session, turn_ids: Collection[str] | None
    ) -> list[Json]:
        """Return the turns of a session, or those of them that are named."""
        return await self._view.of_session(caller, session.context, session.session_id, turn_ids)

    async def get(self, caller: Caller, agent_id: str, session_id: str, turn_id: str) -> Json:
        """Return a turn; raises ``ResourceNotFound``."""
        session = await self._sessions.find(caller, agent_id, session_id)
        turn = await self._view.turn(caller, session.context, session_id, turn_id)
        if turn is None:
            raise ResourceNotFound("turn", turn_id)
        return turn

    async def _create(
        self, caller: Caller, session: Session, turn: NewTurn, options: TurnOptions
    ) -> AsyncGenerator[Json]:
        said = {"messages": turn.messages, "documents": turn.documents}
        with self._service.waiting(caller, len(msgspec.json.encode(said))) as waiting:
            contents = await self._urls.read(caller.user_id, dict(named_in(said)), waiting.grow)
            parts = Reader(contents).parts(turn.messages)
            parts += parts_of(turn.documents, contents, self._limits.file_bytes)
            request = SendRequest(
                _message(session, parts), options=options, context_exists=True, as_new_task=True
            )
            async with self._word(session):
                waiting.end()
                begun = await self._begin(caller, session, request)
        async with aclosing(begun):
            async for chunk in begun.chunks():
                yield chunk

    async def _resume(
        self, caller: Caller, session: Session, turn_id: str, tool_responses: Sequence[Json]
    ) -> AsyncGenerator[Json]:
        size = len(msgspec.json.encode(tool_responses))
        # Of several who go on with a turn at once, one finds it waiting for what it brings.
        with self._service.waiting(caller, size) as waiting:
            async with self._word(session):
                waiting.end()
                begun = await self._go_on(caller, session, turn_id, tool_responses)
        async with aclosing(begun):
            async for chunk in begun.chunks():
                yield chunk

    async def _go_on(
        self, caller: Caller, session: Session, turn_id: str, tool_responses: Sequence[Json]
    ) -> TurnStream:
        asked = await self._view.asked(session.context, turn_id)
        if asked is None:
            raise InvalidParams("turn_id", "is not a turn that waits for tool responses")
        calls = calls_in(asked)
        to_approve = {call["call_id"] for call in calls_in(asked, APPROVALS)}
        results = _results(tool_responses, [call["call_id"] for call in calls])
        turn = await self._view.turn(caller, session.context, session.session_id, turn_id)
        given = {key: text for key, text in results.items() if key not in to_approve}
        resumed = Resumed(turn["steps"] if turn else (), calls, given)
        message = _message(session, [_answers(results, to_approve)])
        request = SendRequest(msgspec.structs.replace(message, task_id=turn_id))
        return await self._begin(caller, session, request, resumed)

    async def _begin(
        self,
        caller: Caller,
        session: Session,
        request: SendRequest,
        resumed: Resumed | None = None,
    ) -> TurnStream:
        context, session_id = session.context, session.session_id
        heard = Heard()
        request = msgspec.structs.replace(request, tenant=caller.tenant, hear=heard.hear)
        # Nobody else has the word before the task is stored, also when the client goes away just now.
        followed = await _to_the_end(self._started(caller, session_id, request))
        return RunningTurn(
            followed,
            heard,
            session_id,
            self._limits.stream_idle_seconds,
            partial(self._sessions.check_there, caller, session_id),
            partial(self._view.turn, caller, context, session_id),
            resumed,
        )

    def _word(self, session: Session) -> AbstractAsyncContextManager[None]:
        """Have the word until the task of a turn is stored: then the next turn waits for that."""
        context = session.context
        return self._serial.turn(context.owner, context.tenant, context.context_id)

    async def _started(self, caller: Caller, session_id: str, request: SendRequest) -> Followed:
        try:
            return await self._service.stream(caller, request, size_of(request.message.parts))
        except TaskNotFound as exc:
            # It was deleted since it was found.
            raise ResourceNotFound(KIND, session_id) from exc
        except InvalidParams as exc:
            raise reworded(exc) from exc

    def _check(self, turn: NewTurn) -> None:
        """Refuse what cannot be a turn before anything of it is fetched."""
        if not turn.messages:
            raise InvalidParams("messages", "must not be empty")
        contents = [message.get("content") for message in turn.messages]
        items = sum(len(content) if isinstance(content, list) else 1 for content in contents)
        if items + len(turn.documents) > self._limits.parts:
            problem = f"has, with the documents, more than {self._limits.parts} items"
            raise InvalidParams("messages", problem)
        check_types(turn.documents)


async def _to_the_end[Result](work: Coroutine[None, None, Result]) -> Result:
    """Return what comes of the work; who is canceled meanwhile goes away when it is done."""
    working = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.gather(working, return_exceptions=True)
        raise


def _message(session: Session, parts: list[Part]) -> Message:
    return Message(
        # No UUID: no turn is sent twice under the same id, so that nothing need be remembered of it.
        message_id=f"turn-{secrets.token_hex(16)}",
        role=Role.USER,
        parts=parts,
        context_id=session.context.context_id,
    )


def _options(turn: NewTurn) -> TurnOptions:
    groups = None
    # None at all stand for the agent's own, as in Llama Stack.
    if turn.toolgroups:
        try:
            groups = groups_of(msgspec.convert(turn.toolgroups, tuple[str | ToolGroup, ...]))
        except msgspec.ValidationError as exc:
            raise InvalidParams("toolgroups", "must be names, or names with args") from exc
    choice = turn.tool_config.get("tool_choice") if isinstance(turn.tool_config, dict) else None
    return TurnOptions(toolgroups=groups, tool_choice=choice)


def _results(tool_responses: Sequence[Json], asked: Sequence[str]) -> dict[str, str]:
    """Return the text of each response by its call; raises ``InvalidParams`` unless all are there."""
    results: dict[str, str] = {}
    for number, response in enumerate(tool_responses):
        path = f"tool_responses.{number}"
        call_id = response.get("call_id")
        if call_id not in asked:
            raise InvalidParams(f"{path}.call_id", "is no call that the turn waits for")
        if call_id in results:
            raise InvalidParams(f"{path}.call_id", "is there twice")
        results[call_id] = text_of(response.get("content"), f"{path}.content")
    missing = [call_id for call_id in asked if call_id not in results]
    if missing:
        raise InvalidParams("tool_responses", f"has no response to the call {missing[0]}")
    return results


def _answers(results: dict[str, str], to_approve: Collection[str]) -> Part:
    """Write the follow-up that answers what the task asks."""
    answers = [
        {"call_id": call_id, "approve": text}
        if call_id in to_approve
        else {"call_id": call_id, "content": text}
        for call_id, text in results.items()
    ]
    return Part(data={"answers": answers}, media_type=JSON, metadata={MARKS: {"field": "results"}})
