"""Turns on a Llama Stack that has the agents API: 0.3.x.

A conversation is a session, and a session belongs to its agent; so a ``conversation_id`` is
``<agent_id>/<session_id>/<conversation>``, where the last is of the Responses API and empty until a
message wants what the agent does not have; servers and ids without it do with two. When the settings
change there is another agent, and conversations of the old one go on with it.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, override

from agent.errors import SettingsError, StackError, TurnFailed
from agent.stacks.agents_api_agent import (
    RemoteAgent,
    existing,
    find_or_create,
    groups_with,
    mcp_headers,
    provider_data,
    servers_of,
    toolgroups_of,
)
from agent.stacks.agents_api_crossing import RESPONSE, Crossing, Place
from agent.stacks.agents_api_events import TurnReader, completed
from agent.stacks.agents_api_messages import input_of, results_of
from agent.stacks.agents_api_wire import Session, Turn, read
from agent.stacks.catalogue import LlamaStackCatalogue, answer_as, answered
from agent.stacks.client import (
    ConversationLost,
    ToolAccessRefused,
    ToolGroupUnknown,
    safe,
    translating,
)
from agent.stacks.mcp_access import CredentialsNeeded, forgetting, refusing, usable
from agent.stacks.mcp_headers import OAUTH, takes
from agent.stacks.offered import NOTHING
from agent.stacks.responses_api import ResponsesApiStack
from agent.stacks.solr import with_documents

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from agent.settings import Settings
    from agent.settings.lcs import McpServer
    from agent.stacks.turn import (
        Credentials,
        Inference,
        Inferred,
        Json,
        Owner,
        TurnCompleted,
        TurnEvent,
        TurnRequest,
    )


class AgentsApiStack(LlamaStackCatalogue):
    """Runs turns on the agents API of a Llama Stack server.

    A turn lives as long as its stream: closing the iterator of ``turn`` cancels it, and the server
    forgets turns that were canceled or failed.
    """

    def __init__(self, settings: Settings) -> None:
        """Connect to nothing yet."""
        super().__init__(settings)
        self._agent: RemoteAgent | None = None
        self._offered = NOTHING  # what that agent was made with
        self._agents: dict[str, RemoteAgent] = {}  # one for each settings that this server has had
        self._client_tools = {tool.name for tool in settings.agent.client_tools}
        self._responses = ResponsesApiStack(settings)
        self._crossing = Crossing(settings, self._responses, self._session)
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
        self._responses.use(self.client, self.offer)

    @override
    async def start_conversation(self, owner: Owner) -> str:
        """Return the id of a new session with the agent of these settings."""
        place, conversation = await asyncio.gather(
            self._start_with_agent(), self._crossing.prepare(owner)
        )
        return str(place._replace(conversation=conversation))

    @override
    async def turn(self, request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        """Run one turn, or resume it with the results of the tool calls that it waits for."""
        place = Place.of(request.conversation_id)
        is_over = await self._crossing.is_over(place)
        agent = None if is_over else await self._agent_of(place)
        if agent is None or await self._wants_other(agent, request):
            events = self._crossing.turn(place, request, is_over=is_over)
        else:
            events = self._agents_turn(agent, request)
        async with aclosing(events):
            async for event in events:
                yield event

    async def _agent_of(self, place: Place) -> RemoteAgent:
        """Return the agent of a conversation, which need not be that of the settings any more."""
        if place.agent_id not in self._agents:
            self._agents[place.agent_id] = await existing(self.client, place.agent_id)
        return self._agents[place.agent_id]

    async def _wants_other(self, agent: RemoteAgent, request: TurnRequest) -> bool:
        """Tell whether a message wants what the agent does not have; raises for what nobody has."""
        await self.check_shields(request.options.shields or ())
        wanted = request.model
        model = agent.model if wanted is None else (await self.model_named(wanted)).identifier
        return self._crossing.is_wanted(agent, request, model)

    async def _agents_turn(
        self, agent: RemoteAgent, request: TurnRequest
    ) -> AsyncGenerator[TurnEvent]:
        model = await self.qualified(agent.model)
        reader = TurnReader(self._client_tools, self.settings.agent.max_infer_iters, model)
        request, cited = await with_documents(self.client, self.settings, request)
        for citation in cited:
            yield citation
        async with aclosing(self._read(reader, request)) as events:
            async for event in events:
                yield event

    async def _read(self, reader: TurnReader, request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        try:
            named = servers_of(self.settings, request.options.toolgroups)
            servers = await usable(named, request.credentials)
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
            self.offer.forget()
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
        if turn_id.startswith(RESPONSE):
            return await self._responses.outcome(conversation_id, turn_id)
        turns = self.client.alpha.agents.turn.with_raw_response
        try:
            agent_id, session_id, _ = Place.of(conversation_id)
            wire = await answered(
                turns.retrieve(safe(turn_id), agent_id=agent_id, session_id=session_id)
            )
        except ConversationLost:
            return None
        if wire is None:
            return None
        message = read(wire, Turn).output_message
        return None if message.tool_calls else completed(message)

    @override
    async def infer(self, request: Inference) -> Inferred:
        """Run a response that the server does not keep: a session would stay."""
        return await self._responses.infer(request)

    @override
    async def delete_conversation(self, conversation_id: str) -> None:
        """Delete the session, and the conversation beside it."""
        with suppress(ConversationLost):
            agent_id, session_id, conversation = Place.of(conversation_id)
            if conversation:
                self._crossing.forget(conversation)
                await self._responses.delete_conversation(conversation)
            sessions = self.client.alpha.agents.session.with_raw_response
            with translating():
                await sessions.delete(session_id, agent_id=agent_id)

    async def _resolve(self, lost: RemoteAgent | None = None) -> RemoteAgent:
        """Find or create the agent, once for what is offered; the server no longer knows ``lost``."""
        offered = await self.offer.to_everybody()
        async with self._resolving:
            if self._agent is None or self._agent is lost or self._offered != offered:
                served = await self.language_models()
                self._agent = await find_or_create(self.client, self.settings, served, offered)
                self._offered = offered
                self._agents[self._agent.agent_id] = self._agent
            return self._agent

    async def _start_with_agent(self) -> Place:
        agent = await self._resolve()
        try:
            return await self._start_session(agent)
        except ConversationLost:  # the server has forgotten the agent
            return await self._start_session(await self._resolve(lost=agent))

    async def _start_session(self, agent: RemoteAgent) -> Place:
        name = f"{self.settings.agent.name}-{secrets.token_hex(8)}"
        sessions = self.client.alpha.agents.session.with_raw_response
        session = await answer_as(Session, sessions.create(agent.agent_id, session_name=name))
        return Place(agent.agent_id, session.session_id)

    async def _session(self, place: Place) -> Session:
        sessions = self.client.alpha.agents.session.with_raw_response
        return await answer_as(
            Session, sessions.retrieve(place.session_id, agent_id=place.agent_id)
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

        agent_id, session_id, _ = Place.of(request.conversation_id)
        turns = self.client.alpha.agents.turn.with_streaming_response
        where: Any = {"agent_id": agent_id, "session_id": session_id, "stream": True}
        where["extra_headers"] = provider_data(shown)
        more = self._chosen(request, servers)
        with translating():
            results = await self._tool_responses(request)
            if request.resume and results:
                turn_id = safe(request.resume.turn_id)
                opening = turns.resume(turn_id, tool_responses=results, **where)
            else:
                opening = turns.create(**input_of(request.parts), **more, **where)
            async with opening as answer:
                # plain JSON: the client's own models hide error chunks and cost more than the rest
                async for chunk in await answer.parse(to=AsyncStream[object]):
                    yield chunk

    def _chosen(self, request: TurnRequest, servers: Sequence[McpServer]) -> dict[str, Any]:
        """Return what takes the place of the agent's tool groups in a new turn."""
        if (groups := request.options.toolgroups) is not None:
            if not (left := groups_with(self.settings, servers, groups)):
                raise TurnFailed("The tool groups of the message want credentials of yours.")
            return {"toolgroups": left}
        if servers != [each for each in self.settings.mcp_servers if not takes(each)]:
            # The agent, which all callers share, has others.
            search = self._agents[Place.of(request.conversation_id).agent_id].search
            return {"toolgroups": toolgroups_of(self.settings, servers, search)}
        return {}

    async def _tool_responses(self, request: TurnRequest) -> list[Any]:
        """Return the answers to exactly what the turn waits for; none when it waits for nothing.

        The server checks nothing: it runs on with answers to other calls, and whatever the turn is
        called it goes on with the last one. It has forgotten a turn that had no credentials.
        """
        if (resume := request.resume) is None:
            return []
        session = await self._session(Place.of(request.conversation_id))
        if not session.turns or session.turns[-1].turn_id != resume.turn_id:
            if not resume.answers:
                return []
            raise TurnFailed(
                "The conversation has gone on: its question can no longer be answered."
            )
        calls = session.turns[-1].output_message.tool_calls or ()
        return results_of(resume.answers, calls, self._client_tools)
