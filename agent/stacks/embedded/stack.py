"""Turns in process: an agent loop, a model, the documents, and our own database."""

from __future__ import annotations

import asyncio
import logging
import uuid
from contextlib import aclosing
from typing import TYPE_CHECKING, override

import msgspec

from a2a_state.sessions import Agent, Sessions
from agent.clock import now
from agent.errors import ModelNotFound, SettingsError
from agent.stacks.embedded import extractive, inference, steps, turn_record
from agent.stacks.embedded.agent_config import (
    SamplingParams,
    Strategy,
    config_of,
    identity,
    read_config,
    unusable_groups,
)
from agent.stacks.embedded.catalogue import EmbeddedCatalogue
from agent.stacks.embedded.loop import MAX_INFER_ITERS, AgentLoop, ended, started
from agent.stacks.embedded.model import Prompt
from agent.stacks.embedded.shields import Shields
from agent.stacks.embedded.tools import gather_tools
from agent.stacks.mcp_access import CredentialsNeeded
from agent.stacks.response_format import response_format
from agent.stacks.turn import (
    AuthRequired,
    ClientTool,
    Failed,
    InputRequired,
    Rejected,
    TurnCompleted,
    TurnStarted,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from a2a_state.database import Database
    from agent.settings import Settings
    from agent.stacks.embedded.agent_config import AgentConfig
    from agent.stacks.embedded.mcp_servers import ShownServers
    from agent.stacks.embedded.model import LanguageModel
    from agent.stacks.embedded.turn_record import TurnRecord
    from agent.stacks.turn import Owner, TurnEvent, TurnRequest

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
        config = config_of(settings)
        self._agent = Agent(identity(config), "", "", msgspec.to_builtins(config), 0)

    @override
    async def open(self) -> None:
        """Begin to index the documents; raises ``SettingsError``."""
        for key in ("input_shields", "output_shields"):
            if getattr(self.settings.agent, key) and self._openai is None:
                raise SettingsError(f"agent.{key}", "needs a model server: set openai.base_url")
        for group in unusable_groups(self.settings):
            _log.warning("The tool group %s needs a Llama Stack; it is left out", group)
        await self._knowledge.open()

    @override
    async def close(self) -> None:
        """Stop indexing and close the connections to the model."""
        await self._knowledge.close()
        await self._default.close()

    @override
    async def start_conversation(self, owner: Owner) -> str:
        """Return the id of a session that its first turn will store."""
        return str(uuid.uuid4())

    @override
    async def turn(self, request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        """Run a turn, or go on with one that waited for the caller.

        Closing the iterator stops the work and stores the turn as canceled.
        """
        wanted = response_format(request.metadata)
        record = await self._record(request)
        unsettled = "failed"
        try:
            config = self._config(record)
            model, name = self._choose(record.options["model"] or config.model)
            wanted = wanted or response_format(record.options)
            model.check(record.message, wanted)
            yield TurnStarted(record.turn_id)
            prompt = Prompt(model=name, messages=record.messages, response_format=wanted)
            servers = self._servers.shown(request.credentials)
            async with aclosing(self._run(record, config, model, prompt, servers)) as events:
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

    async def _record(self, request: TurnRequest) -> TurnRecord:
        if request.resume:
            return await turn_record.resume(self._sessions, request, request.resume)
        return await turn_record.begin(
            self._sessions, request, msgspec.structs.replace(self._agent, created_at=now())
        )

    def _config(self, record: TurnRecord) -> AgentConfig:
        """Return the configuration of the session's agent; that of the settings may be newer."""
        is_ours = not record.agent.owner
        return read_config((self._agent if is_ours else record.agent).agent_config)

    def _choose(self, name: str | None) -> tuple[LanguageModel, str]:
        """Return the model of a name, and how its server calls it; empty for the default one."""
        provider, _, bare = (name or "").rpartition("/")
        if bare == extractive.IDENTIFIER and provider in ("", extractive.PROVIDER):
            return self._extractive, bare
        if self._openai is None:
            if name:
                raise ModelNotFound(f"There is no model {name}: no language model is configured.")
            return self._extractive, extractive.IDENTIFIER
        known = {inference.PROVIDER, self.settings.inference.default_provider}
        first, _, rest = (name or "").partition("/")
        return self._openai, rest if rest and first in known else name or ""

    async def _run(
        self,
        record: TurnRecord,
        config: AgentConfig,
        model: LanguageModel,
        prompt: Prompt,
        servers: ShownServers,
    ) -> AsyncGenerator[TurnEvent]:
        for result in record.results:
            call = next(c for c in steps.calls_of(record.steps) if c.call_id == result.call_id)
            yield started(call)
            yield ended(result)
        shields = Shields(self._openai, record)
        if not record.steps:
            async with aclosing(shields.before(config.input_shields or ())) as checks:
                async for event in checks:
                    yield event
                    if isinstance(event, Rejected):
                        return
        try:
            loop = await self._loop(record, config, model, prompt, servers)
        except CredentialsNeeded as exc:
            yield exc.event
            return
        async with aclosing(loop.run()) as events:
            guarded = (
                shields.after(config.output_shields, events) if config.output_shields else events
            )
            async with aclosing(guarded):
                async for event in guarded:
                    yield event

    async def _loop(
        self,
        record: TurnRecord,
        config: AgentConfig,
        model: LanguageModel,
        prompt: Prompt,
        servers: ShownServers,
    ) -> AgentLoop:
        more = msgspec.convert(record.options["client_tools"], tuple[ClientTool, ...])
        if not model.wants_tools(record.message):
            config = msgspec.structs.replace(config, toolgroups=())
        toolbox = await gather_tools(self._knowledge, servers, config, more)
        toolbox.check(steps.unanswered(record.steps))
        sampling = config.sampling_params or SamplingParams()
        strategy = sampling.strategy or Strategy()
        prompt = msgspec.structs.replace(
            prompt,
            instructions="\n".join((config.instructions, *toolbox.notes)),
            tools=toolbox.specs,
            max_tokens=sampling.max_tokens or None,
            temperature=strategy.temperature,
            top_p=strategy.top_p,
        )
        return AgentLoop(
            model,
            prompt,
            toolbox,
            turn_id=record.turn_id,
            steps=record.steps,
            approved=record.options.get("approved", ()),
            max_infer_iters=config.max_infer_iters or MAX_INFER_ITERS,
        )


def _waiting(event: TurnEvent) -> dict[str, str]:
    """Name the calls that the caller is asked about."""
    if not isinstance(event, InputRequired):
        return {}
    kinds = (("tool_calls", turn_record.RESULT), ("approvals", turn_record.APPROVAL))
    return {call["call_id"]: kind for key, kind in kinds for call in event.data.get(key, ())}
