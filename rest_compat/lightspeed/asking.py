"""A query -> the turn that answers it: a message in the same conversations that A2A has."""

from __future__ import annotations

import uuid
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from agent.dialects.plain import PLAIN
from agent.errors import ResourceNotFound, ServerStopping, StreamEnded, TaskNotFound
from agent.histories import KIND
from agent.model import Message, Part, Role, SendRequest
from agent.others import QUERY
from rest_compat.lightspeed import attachments
from rest_compat.lightspeed.conversation_ids import read_conversation_id
from rest_compat.lightspeed.failures import QueryFailed
from rest_compat.lightspeed.heard_turn import HeardTurn
from rest_compat.lightspeed.selection import (
    check_override,
    check_shields,
    choose_model,
    options_of,
)
from rest_compat.lightspeed.topics import Topics

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from agent.caller import Caller
    from agent.following import Followed
    from agent.histories import Conversation
    from agent.model import Event
    from rest_compat.lightspeed.backend import Backend
    from rest_compat.lightspeed.heard_turn import Piece
    from rest_compat.lightspeed.query_request import QueryRequest

    type Naming = Callable[[str], asyncio.Task[None]]
    """Begins to name the topic of the context."""

    type Finding = Callable[[str], Awaitable[Conversation]]
    """Finds the conversation again; raises ``ResourceNotFound``."""


GOES_ON = "The server is stopping. The answer will be in the conversation."


class Asking:
    """Asks the service what queries ask."""

    def __init__(self, backend: Backend) -> None:
        """Keep what is asked."""
        self._settings = backend.settings
        self._service = backend.service
        self._stack = backend.stack
        self._histories = backend.histories
        self._topics = Topics(backend)

    async def ask(self, caller: Caller, query: QueryRequest, size: int) -> Answering:
        """Start the turn of a query, which goes on whoever hears of it.

        What is checked is checked in LCS's order. Raises ``AgentError``, one of LCS's words among them.
        """
        check_override(caller, query)
        check_shields(self._settings, query.shield_ids)
        # The question is a part of the message, too.
        attachments.check(query.attachments or (), self._settings.limits.parts - 1)
        conversation = await self._conversation(caller, query.conversation_id)
        model = await choose_model(self._stack, query)
        request = SendRequest(
            _message(query, conversation),
            model=model,
            options=await options_of(self._settings, self._stack, query),
            context_exists=conversation is not None,
        )
        actor = caller if conversation is None else conversation.caller
        followed = await self._started(actor, conversation, request, size)
        naming: Naming | None = None
        if conversation is None and query.generate_topic_summary is not False:
            naming = partial(self._topics.name, caller, query.query, model)
        idle = self._settings.limits.stream_idle_seconds
        heard = HeardTurn(query.model)
        find = partial(self._histories.find, actor, action=QUERY)
        return Answering(followed, heard, idle, conversation, naming, find)

    async def _started(
        self, actor: Caller, conversation: Conversation | None, request: SendRequest, size: int
    ) -> Followed:
        try:
            return await self._service.stream(actor, request, size)
        except TaskNotFound as exc:
            if conversation is None:
                raise
            # It was deleted since it was found.
            raise ResourceNotFound(KIND, conversation.conversation_id) from exc

    async def _conversation(self, caller: Caller, asked: str | None) -> Conversation | None:
        conversation_id = read_conversation_id(asked) if asked else None
        if conversation_id is None:
            return None
        return await self._histories.find(caller, conversation_id, QUERY)


class Answering:
    """A turn that runs, and what is ``heard`` of it; whoever has one closes it."""

    def __init__(
        self,
        followed: Followed,
        heard: HeardTurn,
        idle: float,
        conversation: Conversation | None,
        naming: Naming | None,
        find: Finding,
    ) -> None:
        """``idle`` is how many seconds of silence are too many."""
        self.heard = heard
        self.naming: asyncio.Task[None] | None = None
        """What names the topic, if anything does."""
        self._conversation = conversation
        self._name = naming
        self._find = find
        self._first: list[Piece] = []
        self._events = _events(followed, idle)

    @property
    def conversation_id(self) -> str:
        """How REST calls the conversation; that of a new one is the context's id."""
        if self._conversation is not None:
            return self._conversation.conversation_id
        return self.heard.context_id

    async def begin(self) -> None:
        """Wait until the stack has taken the message, or has not. Raises ``AgentError``."""
        async for event in self._events:
            self._first += self.heard.hear(event)
            if self.heard.has_begun or self.heard.problem is not None:
                break
        # What has failed before it began has no topic.
        if self._name is not None and self.heard.problem is None:
            self.naming, self._name = self._name(self.heard.context_id), None

    async def pieces(self) -> AsyncGenerator[Piece]:
        """Yield what is told of the answer, until there is no more. Raises ``AgentError``."""
        for piece in self._first:
            yield piece
        self._first.clear()
        async for event in self._events:
            for piece in self.heard.hear(event):
                yield piece

    async def finish(self) -> None:
        """Hear all of it; raises ``QueryFailed`` when the turn failed."""
        await self.begin()
        async with aclosing(self.pieces()) as pieces:
            async for _ in pieces:
                pass
        await self.check()

    async def check(self) -> None:
        """Raise ``QueryFailed`` when the turn has failed; ``ResourceNotFound`` if that was a deletion."""
        if self.heard.canceled:
            await self._find(self.conversation_id)
        if self.heard.problem is not None:
            raise QueryFailed(self.heard.problem)

    async def aclose(self) -> None:
        """Hear no more; the turn goes on."""
        await self._events.aclose()


async def _events(followed: Followed, idle: float) -> AsyncGenerator[Event]:
    try:
        async with aclosing(followed.follow(PLAIN, idle)) as news:
            async for events in news:
                if not events:
                    raise StreamEnded
                for _, event in events:
                    yield event
    except ServerStopping as exc:
        # What A2A is told is about streams that can be gone on with.
        raise ServerStopping(exc.retry_after, GOES_ON) from exc


def _message(query: QueryRequest, conversation: Conversation | None) -> Message:
    files = attachments.parts_of(query.attachments or ())
    return Message(
        message_id=str(uuid.uuid4()),
        role=Role.USER,
        parts=[Part(text=query.query), *files],
        context_id=None if conversation is None else conversation.context_id,
        # For transcripts: nothing else tells afterwards that it was asked for.
        metadata={"model": f"{query.provider}/{query.model}"} if query.model else None,
    )
