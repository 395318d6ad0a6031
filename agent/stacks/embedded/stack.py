"""Turns in process: an agent loop, a model, the documents, and our own database."""

from __future__ import annotations

import asyncio
import logging
import uuid
from contextlib import aclosing
from typing import TYPE_CHECKING, override

import msgspec

from a2a_state.agents import Agent
from a2a_state.sessions import Sessions
from agent.clock import now
from agent.errors import SettingsError
from agent.stacks.embedded import steps, tool_events, turn_options, turn_record
from agent.stacks.embedded.agent_config import config_of, providers, unusable_groups
from agent.stacks.embedded.catalogue import EmbeddedCatalogue
from agent.stacks.embedded.extractive import ExtractiveModel
from agent.stacks.embedded.loop import AgentLoop
from agent.stacks.embedded.messages import UserMessage
from agent.stacks.embedded.prompts import prompt_of, with_tools
from agent.stacks.embedded.shields import Shields
from agent.stacks.embedded.tool_gathering import Gathering
from agent.stacks.embedded.tools import Toolbox
from agent.stacks.embedded.topic import in_a_line, topic_of
from agent.stacks.mcp_access import CredentialsNeeded
from agent.stacks.response_format import response_format
from agent.stacks.single_turn import answer_of
from agent.stacks.turn import (
    NO_CREDENTIALS,
    AuthRequired,
    ClientTool,
    Failed,
    Inferred,
    InputRequired,
    Rejected,
    StepRecorded,
    TurnCompleted,
    TurnStarted,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
    from pathlib import Path

    from a2a_state.database import Database
    from agent.settings import Settings
    from agent.stacks.embedded.mcp_servers import ShownServers
    from agent.stacks.embedded.model import LanguageModel, Prompt
    from agent.stacks.embedded.turn_record import TurnRecord
    from agent.stacks.turn import AgentOptions, Inference, Json, Owner, TurnEvent, TurnRequest

_QUESTION = 4000  # characters of a question that its topic is told from

_log = logging.getLogger(__name__)

_STATES: dict[type[TurnEvent], str] = {
    TurnCompleted: "completed",
    InputRequired: "awaiting_input",
    AuthRequired: "awaiting_input",
    # so that what was refused is no part of the conversation
    Rejected: "failed",
    Failed: "failed",
}


class EmbeddedStack(EmbeddedCatalogue):
    """Runs turns in this process.

    A conversation is a session; it is stored with its first turn. Sessions of the agent of the
    settings go on with the settings of the day.
    """

    def __init__(
        self, settings: Settings, database: Database, knowledge_folder: Path | None = None
    ) -> None:
        """Open nothing; without a folder the documents are those of the settings, or ours."""
        super().__init__(settings, database, knowledge_folder)
        self._sessions = Sessions(database)
        self._configured = config_of(settings)
        config = msgspec.to_builtins(self._configured)
        self._agent = Agent(self._configured.agent_id, "", "", config, 0)
        store_id, groups = self._knowledge.store_id, frozenset(providers(settings))
        self._choices = turn_options.Choices(store_id, self._shields, groups)

    @override
    async def open(self) -> None:
        """Begin to index the documents; raises ``SettingsError``."""
        for key in ("input_shields", "output_shields"):
            if getattr(self.settings.agent, key) and self._models.language_model is None:
                raise SettingsError(f"agent.{key}", "needs a model server: set openai.base_url")
        for group in unusable_groups(self.settings):
            _log.warning("The tool group %s needs a Llama Stack; it is left out", group)
        await self._knowledge.open()

    @override
    async def close(self) -> None:
        """Stop indexing and close the connections to the model."""
        await self._knowledge.close()
        await self._models.default.close()

    @override
    async def start_conversation(self, owner: Owner) -> str:
        """Return the id of a session that its first turn will store."""
        return str(uuid.uuid4())

    @override
    async def turn(self, request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        """Run a turn, or go on with one that waited for the caller.

        What the turn began with holds until it ends: its options are not changed by resuming it.
        Closing the iterator stops the work and stores the turn as canceled.
        """
        wanted = response_format(request.metadata)
        turn_options.check(request, self._choices)
        record = await self._record(request)
        unsettled = "failed"
        try:
            agent = record.agent or self._configured
            config = turn_options.apply(record.wanted, agent, self._choices.store_id)
            chosen = await self._models.choose(record.options["model"])
            wanted = wanted or response_format(record.options) or turn_options.form_of(config)
            chosen.model.check(record.message, wanted)
            yield TurnStarted(record.turn_id, chosen.identifier)
            may_search = turn_options.searches(config)
            prompt = prompt_of(config, chosen.name, record.messages, wanted, may_search=may_search)
            servers = self._servers.shown(request.credentials)
            async with aclosing(self._run(record, config, chosen.model, prompt, servers)) as events:
                async for event in events:
                    if state := _STATES.get(type(event)):
                        unsettled = ""
                        await record.end(state, _waiting(event))
                    yield event
        except (GeneratorExit, asyncio.CancelledError):
            unsettled = unsettled and "canceled"
            raise
        finally:
            if unsettled:
                await record.give_up(unsettled)

    @override
    async def cancel(self, conversation_id: str, turn_id: str) -> None:
        """Store that a turn is canceled; what runs is stopped by closing its iterator."""
        await self._sessions.cancel(conversation_id, turn_id, now())

    @override
    async def outcome(self, conversation_id: str, turn_id: str) -> TurnCompleted | None:
        """Tell how a turn ended; ``None`` for one that has no answer."""
        turn = await self._sessions.find(conversation_id, turn_id)
        if turn is None or turn.state != "completed":
            return None
        return TurnCompleted(turn.output_message["stop_reason"], turn_record.text_of(turn))

    @override
    async def infer(self, request: Inference) -> Inferred:
        """Ask the model, with the shields of the settings; nothing is stored."""
        return await answer_of(self._answer(request))

    @override
    async def topic_of(self, question: str, owner: Owner, model: str | None = None) -> Inferred:
        """Ask the model; without a language model the question is its own topic, and costs nothing."""
        chosen = await self._models.choose(model)
        if isinstance(chosen.model, ExtractiveModel):
            return Inferred(topic_of(question), None, Usage(0, 0))
        said = await super().topic_of(question[:_QUESTION], owner, model)
        return msgspec.structs.replace(said, text=in_a_line(said.text))

    @override
    async def delete_conversation(self, conversation_id: str) -> None:
        """Delete the session; whose it is, the caller knows."""
        await self._sessions.delete(conversation_id)

    @override
    async def steps(
        self, conversation_id: str, turn_ids: Collection[str]
    ) -> Mapping[str, Sequence[Json]]:
        """Return the steps of turns as they are stored: at their end, and when they begin to wait."""
        return await self._sessions.steps(conversation_id, turn_ids)

    async def _record(self, request: TurnRequest) -> TurnRecord:
        if request.resume:
            return await turn_record.resume(self._sessions, request, request.resume)
        return await turn_record.begin(
            self._sessions, request, msgspec.structs.replace(self._agent, created_at=now())
        )

    async def _run(
        self,
        record: TurnRecord,
        config: AgentOptions,
        model: LanguageModel,
        prompt: Prompt,
        servers: ShownServers,
    ) -> AsyncGenerator[TurnEvent]:
        for given in record.given:
            kind = tool_events.MCP if given.denied else tool_events.FUNCTION
            step_id = record.steps[-1]["step_id"]
            yield tool_events.started(given.call, {"type": kind}, step_id)
            yield tool_events.ended(given.call, given.content, failed=given.denied)
        if record.given:
            yield StepRecorded(record.steps[-1])
        work = self._work(record, config, model, prompt, servers)
        shields = Shields(self._models.language_model, record.message, record.turn_id, record.steps)
        before = () if record.steps else config.input_shields
        async with aclosing(shields.around(before, work, config.output_shields)) as events:
            async for event in events:
                yield event

    async def _work(
        self,
        record: TurnRecord,
        config: AgentOptions,
        model: LanguageModel,
        prompt: Prompt,
        servers: ShownServers,
    ) -> AsyncGenerator[TurnEvent]:
        more = () if record.wanted.no_tools else record.options["client_tools"]
        if not model.wants_tools(record.message):
            config = msgspec.structs.replace(config, toolgroups=(), tool_choice="auto")
        gathering = Gathering(
            self._knowledge,
            servers,
            config,
            msgspec.convert(more, tuple[ClientTool, ...]),
            is_callers=record.agent is not None or record.wanted.toolgroups is not None,
        )
        is_first = not steps.inferences(record.steps)
        try:
            async with aclosing(gathering.run()) as listings:
                async for listing in listings:
                    if is_first:
                        yield listing
            toolbox = gathering.toolbox
            toolbox.check(steps.unanswered(record.steps))
        except CredentialsNeeded as exc:
            yield exc.event
            return
        loop = AgentLoop(
            model,
            with_tools(prompt, toolbox, config.tool_choice),
            toolbox,
            turn_id=record.turn_id,
            steps=record.steps,
            approved=record.options.get("approved", ()),
            max_infer_iters=config.max_infer_iters,
        )
        async with aclosing(loop.run()) as events:
            async for event in events:
                yield event

    async def _answer(self, request: Inference) -> AsyncGenerator[TurnEvent]:
        """Run what is like a turn, and leaves nothing behind."""
        chosen = await self._models.choose(request.model)
        message = UserMessage(request.text)
        chosen.model.check(message, None)
        yield TurnStarted("", chosen.identifier)
        config = msgspec.structs.replace(
            self._configured,
            instructions=request.instructions,
            sampling=request.sampling or self._configured.sampling,
        )
        prompt = prompt_of(config, chosen.name, (message,))
        toolbox = Toolbox(self._knowledge, self._servers.shown(NO_CREDENTIALS), {}, ())
        said: list[Json] = []
        loop = AgentLoop(chosen.model, prompt, toolbox, turn_id="", steps=said)
        shields = Shields(self._models.language_model, message, "", said)
        work = shields.around(config.input_shields, loop.run(), config.output_shields)
        async with aclosing(work) as events:
            async for event in events:
                yield event


def _waiting(event: TurnEvent) -> dict[str, str]:
    """Name the calls that the caller is asked about."""
    if not isinstance(event, InputRequired):
        return {}
    kinds = (("tool_calls", turn_record.RESULT), ("approvals", turn_record.APPROVAL))
    return {call["call_id"]: kind for key, kind in kinds for call in event.data.get(key, ())}
