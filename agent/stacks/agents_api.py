"""Turns on a Llama Stack that has the agents API: 0.3.x.

A conversation is a session, and a session belongs to its agent; so a ``conversation_id`` is
``<agent_id>/<session_id>``. When the settings change there is another agent, and conversations of
the old one go on with it.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, override

from agent.errors import (
    InvalidParams,
    SettingsError,
    StackError,
    TurnFailed,
    UnsupportedOperation,
)
from agent.stacks.agents_api_agent import (
    RemoteAgent,
    find_or_create,
    mcp_headers,
    provider_data,
    toolgroups_of,
)
from agent.stacks.agents_api_events import TurnReader, completed
from agent.stacks.agents_api_messages import documents_of, message_of
from agent.stacks.agents_api_wire import Session, Turn, read
from agent.stacks.catalogue import LlamaStackCatalogue, answer_as, answered
from agent.stacks.client import (
    ConversationLost,
    ToolAccessRefused,
    ToolGroupUnknown,
    translating,
)
from agent.stacks.mcp_access import CredentialsNeeded, forgetting, refusing, usable
from agent.stacks.mcp_headers import OAUTH, takes
from agent.stacks.response_format import response_format

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from agent.settings import Settings
    from agent.settings.lcs import McpServer
    from agent.stacks.turn import (
        Credentials,
        Json,
        Owner,
        TurnCompleted,
        TurnEvent,
        TurnRequest,
    )

_ID = re.compile(r"[\w-]+", re.ASCII)  # ids become segments of a path


class AgentsApiStack(LlamaStackCatalogue):
    """Runs turns on the agents API of a Llama Stack server.

    A turn lives as long as its stream: closing the iterator of ``turn`` cancels it, and the server
    forgets turns that were canceled or failed.
    """

    def __init__(self, settings: Settings) -> None:
        """Connect to nothing yet."""
        super().__init__(settings)
        self._agent: RemoteAgent | None = None
        self._resolving = asyncio.Lock()

    @override
    async def open(self) -> None:
        """Build the client; the agent is found when it is first needed, the server may be down."""
        for index, server in enumerate(self.settings.mcp_servers):
            if server.require_approval != "never":
                raise SettingsError(
                    f"mcp_servers[{index}].require_approval",
                    "cannot be had from this Llama Stack: its agents call tools without asking",
                )
        await super().open()

    @override
    async def start_conversation(self, owner: Owner) -> str:
        """Return the id of a new session with the agent of these settings."""
        agent = await self._resolve()
        try:
            return await self._start_session(agent)
        except ConversationLost:  # the server has forgotten the agent
            return await self._start_session(await self._resolve(lost=agent))

    @override
    async def turn(self, request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        """Run one turn, or resume it with the results of the tool calls that it waits for."""
        agent = self.settings.agent
        reader = TurnReader({tool.name for tool in agent.client_tools}, agent.max_infer_iters)
        await self._check(request)
        try:
            servers = await usable(self.settings.mcp_servers, request.credentials)
            shown = await mcp_headers(servers, request.credentials)
            with forgetting(value for headers in shown.values() for value in headers.values()):
                async with aclosing(self._stream(request, servers, shown)) as chunks:
                    async for chunk in chunks:
                        for event in reader.read(chunk):
                            yield event
                        if reader.ended:
                            return
        except CredentialsNeeded as exc:
            yield exc.event
        except StackError as exc:
            at_tool = reader.at_tool or isinstance(exc, ToolGroupUnknown | ToolAccessRefused)
            needed = await self._needed(exc, request.credentials) if at_tool else None
            if needed is None:
                raise
            yield needed.event
        else:
            raise TurnFailed("The stack broke off the answer.")

    async def _needed(
        self, error: StackError, credentials: Credentials
    ) -> CredentialsNeeded | None:
        """Find the MCP server that wants credentials: the server's words name it, or it is asked."""
        servers = self.settings.mcp_servers
        if isinstance(error, ToolAccessRefused):
            for server in servers:
                if f"'{server.url}'" in str(error.__cause__):
                    asked = await refusing([server], credentials) if takes(server, OAUTH) else None
                    return asked or CredentialsNeeded(server)
        return await refusing(servers, credentials)

    @override
    async def outcome(self, conversation_id: str, turn_id: str) -> TurnCompleted | None:
        """Tell how a turn ended; ``None`` for one that failed, was cut off, or waits for input."""
        turns = self.client.alpha.agents.turn.with_raw_response
        try:
            agent_id, session_id = _ids(conversation_id)
            wire = await answered(
                turns.retrieve(_safe(turn_id), agent_id=agent_id, session_id=session_id)
            )
        except ConversationLost:
            return None
        if wire is None:
            return None
        message = read(wire, Turn).output_message
        return None if message.tool_calls else completed(message)

    async def _resolve(self, lost: RemoteAgent | None = None) -> RemoteAgent:
        """Find or create the agent, once; ``lost`` is one that the server no longer knows."""
        async with self._resolving:
            if self._agent is None or self._agent is lost:
                served = await self._language_models()
                self._agent = await find_or_create(self.client, self.settings, served)
            return self._agent

    async def _language_models(self) -> list[str]:
        """Return the ids of the models that answer, those of shields last."""
        served = [each.identifier for each in await self.models() if each.model_type == "llm"]
        try:
            guards = {shield.get("provider_resource_id") for shield in await self.shields()}
        except TurnFailed:  # a server without the safety API
            return served
        return sorted(served, key=guards.__contains__)

    async def _start_session(self, agent: RemoteAgent) -> str:
        name = f"{self.settings.agent.name}-{secrets.token_hex(8)}"
        sessions = self.client.alpha.agents.session.with_raw_response
        session = await answer_as(Session, sessions.create(agent.agent_id, session_name=name))
        return f"{agent.agent_id}/{session.session_id}"

    async def _check(self, request: TurnRequest) -> None:
        """Refuse what the agents API fixes when the agent is created."""
        if response_format(request.metadata):
            raise UnsupportedOperation(
                "The form of the answer cannot be chosen with a message: "
                "on this Llama Stack it is fixed in an agent's configuration."
            )
        known = self.settings.agent.client_tools
        given = {tool.name: tool.model_dump() for tool in known}
        for tool in request.tools:
            fixed = given.get(tool.name)
            if fixed is None or fixed["input_schema"] != tool.input_schema:
                raise UnsupportedOperation(
                    f"The tool {tool.name} cannot be given with a message: "
                    "on this Llama Stack an agent's tools are fixed in its configuration."
                )
        if request.model is None:
            return
        model = (await self._resolve()).model
        if request.model not in (model, model.partition("/")[2]):
            raise UnsupportedOperation(
                "The model cannot be chosen with a message: "
                "on this Llama Stack an agent's model is fixed in its configuration."
            )

    async def _stream(
        self,
        request: TurnRequest,
        servers: Sequence[McpServer],
        shown: Mapping[str, Mapping[str, str]],
    ) -> AsyncGenerator[Json]:
        """Yield the decoded chunks of the turn, which has these MCP servers."""
        # importing it takes a second, so not with the module
        from llama_stack_client import AsyncStream

        agent_id, session_id = _ids(request.conversation_id)
        turns = self.client.alpha.agents.turn.with_streaming_response
        headers = provider_data(shown)
        more: Any = {}
        if any(map(takes, servers)):
            # They are no part of the agent, which all callers share; this takes the place of its groups.
            more["toolgroups"] = toolgroups_of(self.settings, servers)
        with translating():
            results = await self._tool_responses(request)
            if request.resume and results:
                opening = turns.resume(
                    _safe(request.resume.turn_id),
                    agent_id=agent_id,
                    session_id=session_id,
                    tool_responses=results,
                    stream=True,
                    extra_headers=headers,
                )
            else:
                documents: Any = documents_of(request.parts)
                message: Any = message_of(request.parts, before_documents=bool(documents))
                opening = turns.create(
                    session_id,
                    agent_id=agent_id,
                    messages=[message],
                    documents=documents,
                    stream=True,
                    extra_headers=headers,
                    **more,
                )
            async with opening as answer:
                # plain JSON: the client's own models hide error chunks and cost more than the rest
                async for chunk in await answer.parse(to=AsyncStream[object]):
                    yield chunk

    async def _tool_responses(self, request: TurnRequest) -> list[Any]:
        """Return the answers to exactly what the turn waits for; none when it waits for nothing.

        The server checks nothing: it runs on with answers to other calls, and whatever the turn is
        called it goes on with the last one. It has forgotten a turn that had no credentials.
        """
        resume = request.resume
        if resume is None:
            return []
        agent_id, session_id = _ids(request.conversation_id)
        sessions = self.client.alpha.agents.session.with_raw_response
        session = await answer_as(Session, sessions.retrieve(session_id, agent_id=agent_id))
        if not session.turns or session.turns[-1].turn_id != resume.turn_id:
            if not resume.answers:
                return []
            raise TurnFailed(
                "The conversation has gone on: its question can no longer be answered."
            )
        calls = session.turns[-1].output_message.tool_calls or ()
        names = {call.call_id: call.tool_name for call in calls}
        answers = {answer.call_id: answer for answer in resume.answers}
        if unasked := answers.keys() - names.keys():
            raise InvalidParams("message.parts", f"no tool call {min(unasked)} waits for a result")
        client_tools = {tool.name for tool in self.settings.agent.client_tools}
        missing = {key for key, name in names.items() if name in client_tools} - answers.keys()
        if missing:
            raise InvalidParams("message.parts", f"the tool call {min(missing)} has no result")
        return [
            {"call_id": key, "tool_name": names[key], "content": answer.content}
            for key, answer in answers.items()
        ]


def _ids(conversation_id: str) -> tuple[str, str]:
    """Split into agent and session; an id of another stack is one that this server never knew."""
    agent_id, _, session_id = conversation_id.partition("/")
    return _safe(agent_id), _safe(session_id)


def _safe(identifier: str) -> str:
    if not _ID.fullmatch(identifier):
        raise ConversationLost
    return identifier
