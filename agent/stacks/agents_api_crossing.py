"""How a conversation goes over from its agent to the Responses API of the same server.

What an agent was made with holds for all its turns, and no other agent can be told what was said. So
a message that wants something else is answered by the Responses API, with all that was said before it,
and the conversation goes on there. Of old turns it is told what was said, not which tools were used.
"""

from __future__ import annotations

import base64
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from agent.errors import StackError, TurnFailed, UnsupportedOperation
from agent.stacks.agents_api_passed import Passed
from agent.stacks.agents_api_wire import Session, files_of, read, text_of
from agent.stacks.catalogue import is_not_served
from agent.stacks.client import ConversationLost, safe, translating
from agent.stacks.response_format import response_format
from agent.stacks.responses_api import CONVERSATION
from agent.stacks.responses_api_options import chosen_groups, chosen_tool
from agent.stacks.responses_api_tools import FILE_SEARCH_GROUPS, unusable_toolgroups
from agent.stacks.turn import Json  # noqa: TC001 - msgspec resolves the annotations of fields

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

    from agent.settings import Settings
    from agent.stacks.agents_api_agent import RemoteAgent
    from agent.stacks.responses_api import ResponsesApiStack
    from agent.stacks.turn import Owner, TurnEvent, TurnRequest

RESPONSE = "resp_"
"""What the ids of turns begin with that the Responses API has run."""


class _Items(msgspec.Struct):
    data: list[Json] = []


class Place(NamedTuple):
    """Where a conversation is: in a session of an agent, or in ``conversation`` once it went over."""

    agent_id: str
    session_id: str
    conversation: str | None = None

    @classmethod
    def of(cls, conversation_id: str) -> Place:
        """Read an id of ours; one of another stack raises ``ConversationLost``."""
        agent_id, _, rest = conversation_id.partition("/")
        session_id, _, conversation = rest.partition("/")
        if conversation and not CONVERSATION.fullmatch(conversation):
            raise ConversationLost
        return cls(safe(agent_id), safe(session_id), conversation or None)

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


class Crossing:
    """The way over, for all conversations of a stack."""

    def __init__(
        self,
        settings: Settings,
        responses: ResponsesApiStack,
        session_of: Callable[[Place], Awaitable[Session]],
    ) -> None:
        """``session_of`` reads what was said with the agent."""
        self._settings = settings
        self._responses = responses
        self._session_of = session_of
        self._passed = Passed()

    async def prepare(self, owner: Owner) -> str | None:
        """Return a conversation to go over to, if the server has such."""
        try:
            conversation = await self._responses.start_conversation(owner)
        except StackError as exc:
            if is_not_served(exc):
                return None
            raise
        self._passed.began(conversation)
        return conversation

    def forget(self, conversation: str) -> None:
        """Forget what is known of a conversation that is deleted."""
        self._passed.forget(conversation)

    async def is_over(self, place: Place) -> bool:
        """Tell whether the conversation went over: something was said there.

        Another process may have done that: the server is asked, unless its answer is known.
        """
        if place.conversation is None:
            return False
        known = self._passed.known(place.conversation)
        if known is None:
            known = await self._something_said(place.conversation)
            if known:
                self._passed.went_over(place.conversation)
        return known

    async def _something_said(self, conversation: str) -> bool:
        with translating():
            wire = await self._responses.client.get(
                f"/v1/conversations/{conversation}/items",
                cast_to=object,
                options={"params": {"limit": 1}},
            )
        return bool(read(wire, _Items).data)

    def is_wanted(self, agent: RemoteAgent, request: TurnRequest, model: str) -> bool:
        """Tell whether a message wants what its agent does not have; ``model`` is what is to answer."""
        options = request.options
        return any(
            (
                request.agent is not None,
                # 0.3.5 takes it with a turn, and has that of the agent all the same
                options.tool_choice not in (None, "auto"),
                # and no tool groups are to it as if none were named
                options.toolgroups == () and (agent.has_tools or self._settings.mcp_servers),
                model != agent.model,
                options.instructions not in (None, agent.instructions),
                options.no_tools and (agent.has_tools or self._settings.mcp_servers),
                options.vector_store_ids is not None and not options.no_tools,
                options.shields is not None and set(options.shields) != agent.input_shields,
                response_format(request.metadata),
                any(agent.tools.get(tool.name) != tool.input_schema for tool in request.tools)
                and not options.no_tools,
            )
        )

    async def turn(
        self, place: Place, request: TurnRequest, *, is_over: bool
    ) -> AsyncGenerator[TurnEvent]:
        """Run a turn there; raises ``UnsupportedOperation`` for what only the agent could have done."""
        conversation_id = self._check(place, request)
        request = msgspec.structs.replace(request, conversation_id=conversation_id)
        history: list[Json] = []
        if not is_over:
            history = list(history_of(await self._session_of(place)))
        async with aclosing(self._responses.turn_after(history, request)) as events:
            async for event in events:
                yield event

    def _check(self, place: Place, request: TurnRequest) -> str:
        """Return the conversation's id there."""
        if place.conversation is None:
            raise UnsupportedOperation(
                "In this conversation the model, the instructions, the tools, the shields and the form "
                "of the answer cannot be chosen with a message; they can in a new one, unless "
                "Llama Stack has no Responses API."
            )
        if request.resume and request.resume.answers and not _is_response(request.resume.turn_id):
            raise TurnFailed(
                "The conversation has gone on: its question can no longer be answered."
            )
        if (chosen := chosen_tool(request)) not in ("auto", "none"):
            raise UnsupportedOperation(
                "A message with options or an agent of its own cannot have the tool choice "
                f"{chosen} on this Llama Stack: its Responses API takes none."
            )
        options, lost = request.options, list[str]()
        if not options.no_tools and chosen_groups(request) is None:
            lost = unusable_toolgroups(self._settings)
        if options.vector_store_ids is not None:
            lost = [name for name in lost if name not in FILE_SEARCH_GROUPS]
        if lost:
            raise UnsupportedOperation(
                "A message with options of its own cannot have these tools of the agent on this "
                f"Llama Stack: {', '.join(lost)}. Send it without tools."
            )
        return place.conversation


def _is_response(turn_id: str) -> bool:
    return turn_id.startswith(RESPONSE)


def history_of(session: Session) -> Iterator[dict[str, Json]]:
    """Give what was said in a session, as the input of a response."""
    for turn in session.turns:
        for message in turn.input_messages or ():
            if message.role == "user" and (content := _content(message.content)):
                yield {"type": "message", "role": "user", "content": content}
        if said := text_of(turn.output_message.content):
            yield {"type": "message", "role": "assistant", "content": said}


def _content(content: Json) -> Any:
    """Return text as it is, and with images a list of both: pictures behind the text they came with."""
    text, images = text_of(content), files_of(content, "image/png", texts=False)
    if not images:
        return text
    parts: list[dict[str, Json]] = [{"type": "input_text", "text": text}] if text else []
    for image in images:
        url = image.uri
        if image.data is not None:
            url = f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"
        parts.append({"type": "input_image", "detail": "auto", "image_url": url})
    return parts
