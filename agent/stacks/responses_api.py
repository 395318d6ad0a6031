"""Turns on Llama Stack 0.4 and later, and on OGX: the Responses and Conversations APIs.

A conversation is one of the server's; a turn is a response in it, and is known by its id.
"""

from __future__ import annotations

import logging
import re
from contextlib import aclosing, contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple, override

from agent.errors import ModelNotFound, StackError, TurnFailed
from agent.stacks import single_turn
from agent.stacks.catalogue import NOT_SERVED, LlamaStackCatalogue, answer_as, answered
from agent.stacks.client import ConversationLost, safe, translating
from agent.stacks.mcp_access import CredentialsNeeded, forgetting, refusing
from agent.stacks.offered import Offered
from agent.stacks.responses_api_events import Translation
from agent.stacks.responses_api_options import input_shields, tool_choice
from agent.stacks.responses_api_request import (
    after,
    answers_of,
    asks_of,
    body_of,
    input_of,
)
from agent.stacks.responses_api_shields import look_at
from agent.stacks.responses_api_stream import stream
from agent.stacks.responses_api_toolgroups import ToolGroups
from agent.stacks.responses_api_tools import shown_in, unusable_toolgroups
from agent.stacks.responses_api_wire import (
    Conversation,
    Response,
    answer_of,
    decode,
    question_of,
    refusal_of,
)
from agent.stacks.solr import with_documents
from agent.stacks.turn import Failed, Json, Rejected, TextDelta, TurnCompleted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from llama_stack_client import AsyncLlamaStackClient

    from agent.settings import Settings
    from agent.settings.lcs import McpServer
    from agent.stacks.offered import Offer
    from agent.stacks.turn import (
        Credentials,
        Inference,
        Inferred,
        Owner,
        TurnEvent,
        TurnRequest,
    )

_log = logging.getLogger(__name__)

CONVERSATION = re.compile(r"conv_\w+", re.ASCII)


class _Used(NamedTuple):
    """The MCP servers of a turn, and what the caller showed for them."""

    servers: Sequence[McpServer]
    credentials: Credentials


class ResponsesApiStack(LlamaStackCatalogue):
    """Runs turns on the Responses API of a Llama Stack or OGX server.

    Shields that the settings name become guardrails. On a server that has no guardrails a turn fails:
    to go on without a shield that is configured is not for this stack to decide.
    """

    settle_seconds = 10.0
    """How long a server may keep a stream open after its last event."""

    def __init__(self, settings: Settings) -> None:
        """Connect to nothing yet."""
        super().__init__(settings)
        self._model: str | None = None
        self._toolgroups = ToolGroups(settings, self._all_stores, self.toolgroups)

    def use(self, client: AsyncLlamaStackClient, offer: Offer) -> None:
        """Take what is of another stack in place of ``open``; that one closes the client."""
        self._client, self.offer = client, offer

    @override
    async def open(self) -> None:
        """Build the client; the model is found when it is first needed, the server may be down."""
        for name in unusable_toolgroups(self.settings):
            _log.warning("the Responses API has no tool for the tool group %s", name)
        await super().open()

    @override
    async def start_conversation(self, owner: Owner) -> str:
        """Return the id of a new conversation of the server."""
        call = self.client.conversations.with_raw_response.create()
        return (await answer_as(Conversation, call)).id

    @override
    async def turn(self, request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        """Run one response; closing the iterator closes its stream, which stops it."""
        async with aclosing(self.turn_after((), request)) as events:
            async for event in events:
                yield event

    async def turn_after(
        self, history: Sequence[Json], request: TurnRequest
    ) -> AsyncGenerator[TurnEvent]:
        """Run one response, with ``history`` as the messages that the conversation does not have yet."""
        if not CONVERSATION.fullmatch(request.conversation_id):
            raise ConversationLost  # an id of another stack, which this server never knew
        request, cited = await with_documents(self.client, self.settings, request)
        for citation in cited:
            yield citation
        async with aclosing(self._run(history, request)) as events:
            async for event in events:
                yield event

    @override
    async def infer(self, request: Inference) -> Inferred:
        """Run a response that the server does not keep, outside of any conversation."""
        return await single_turn.answer_of(self._run((), single_turn.request_for(request, "")))

    async def _run(
        self, history: Sequence[Json], request: TurnRequest
    ) -> AsyncGenerator[TurnEvent]:
        await self.check_shields(request.options.shields or ())
        offered = await self._offered(request)
        body = body_of(self.settings, request, await self._model_of(request), offered)
        given = await self._input(request)
        try:
            more, servers = await self._toolgroups.tools_of(request)
        except CredentialsNeeded as exc:
            yield exc.event
            return
        body["tools"] += more
        if chosen := tool_choice(request, body["tools"]):
            body["tool_choice"] = chosen
        async with aclosing(look_at(self.client, body, offered.shields, given)) as looks:
            async for event in looks:
                yield event
                if isinstance(event, Rejected):
                    return
        body["input"] = after(history, given)
        used = _Used(servers, request.credentials)
        async with aclosing(self._respond_until_answered(body, used)) as events:
            async for event in events:
                yield event

    async def _offered(self, request: TurnRequest) -> Offered:
        """Return what a turn has unasked; an agent of a caller says itself what else it has."""
        if (shields := input_shields(request)) is not None:
            own = self.settings
            if own.customization.disable_shield_ids_override and own.agent.input_shields is None:
                shields = tuple(dict.fromkeys((*await self.offer.shields(), *shields)))
            return Offered(shields=shields)
        return await self.offer.to(request.options)

    async def _all_stores(self) -> Sequence[str]:
        return await self.offer.stores()  # that of another stack, after ``use``

    async def _respond_until_answered(
        self, body: dict[str, Json], used: _Used
    ) -> AsyncGenerator[TurnEvent]:
        """Run responses until all that the caller need not approve is approved."""
        name = await self.qualified(body["model"])
        asks = asks_of(self.settings)
        said: list[str] = []
        for _ in range(body["max_infer_iters"]):
            translation = Translation(asks, name)
            before = "".join(said)
            async with aclosing(self._respond(body, translation, used)) as events:
                async for event in events:
                    if isinstance(event, TextDelta):
                        said.append(event.text)
                    yield _after(before, event)
            if translation.to_approve is None:
                return
            body["input"] = answers_of(None, translation.to_approve, asks)
            body.pop("tool_choice", None)  # it was for the first call
        yield Failed("The agent stopped at its limit of steps without an answer.")

    async def _respond(
        self, body: dict[str, Json], translation: Translation, used: _Used
    ) -> AsyncGenerator[TurnEvent]:
        """Run one response; one that fails at an MCP server may do so for want of credentials."""
        try:
            with self._forgetting_model(), forgetting(shown_in(body["tools"])):
                streamed = stream(self.client, body, translation, self.settle_seconds)
                async with aclosing(streamed) as events:
                    async for wire in events:
                        for event in translation.read(wire):
                            yield event
                for event in translation.end():
                    yield event
        except StackError:
            self.offer.forget()
            needed = translation.at_tool_server and await refusing(*used)
            if not needed:
                raise
            yield needed.event

    async def _input(self, request: TurnRequest) -> Json:
        resume = request.resume
        if resume is None:
            return input_of(request.parts)
        response = await self._retrieve(resume.turn_id) if resume.turn_id else None
        if not resume.answers and (response is None or question_of(response) is None):
            return input_of(request.parts)  # tried again: the server has filed nothing of it
        if response is None:
            raise TurnFailed("The turn that waits for input is no longer known to Llama Stack.")
        return answers_of(resume, response, asks_of(self.settings))

    async def _model_of(self, request: TurnRequest) -> str:
        """Return the id of the model: that of the message must be served, that of the settings may be."""
        if request.model is not None:
            return (await self.model_named(request.model)).identifier
        inference = self.settings.inference
        if model := inference.default_model:
            provider = f"{inference.default_provider}/" if inference.default_provider else ""
            named = model if model.startswith(provider) else provider + model
            return await self.identifier_of(named)
        if self._model is None:
            served = await self.language_models()
            if not served:
                raise ModelNotFound("The stack behind this agent serves no language model.")
            self._model = served[0]
        return self._model

    @contextmanager
    def _forgetting_model(self) -> Iterator[None]:
        """Look again for models once the one that was found is gone."""
        try:
            yield
        except ModelNotFound:
            self._model, self._known = None, ()
            raise

    @override
    async def cancel(self, conversation_id: str, turn_id: str) -> None:
        """Cancel the response on servers that can; all stop it when its stream is closed."""
        from llama_stack_client import APIStatusError

        with translating():
            try:
                await self.client.post(f"/v1/responses/{safe(turn_id)}/cancel", cast_to=object)
            except APIStatusError as exc:
                if exc.status_code not in (*NOT_SERVED, 409):
                    raise

    @override
    async def outcome(self, conversation_id: str, turn_id: str) -> TurnCompleted | None:
        """Tell how a response ended; ``None`` without an answer, or while it waits for input."""
        response = await self._retrieve(turn_id)
        if response is None or response.status != "completed":
            return None
        if question_of(response) or refusal_of(response):
            return None
        return TurnCompleted("end_of_turn", answer_of(response) or "")

    async def _retrieve(self, turn_id: str) -> Response | None:
        try:
            with translating():
                answer = await self.client.responses.with_raw_response.retrieve(safe(turn_id))
                return decode(await answer.json(), Response)
        except ConversationLost:  # what a response that is not found means as well
            return None

    @override
    async def delete_conversation(self, conversation_id: str) -> None:
        """Delete the conversation of the server; what is of another stack was never there."""
        if not CONVERSATION.fullmatch(conversation_id):
            return
        with suppress(ConversationLost):
            await answered(self.client.conversations.with_raw_response.delete(conversation_id))


def _after(before: str, event: TurnEvent) -> TurnEvent:
    """Put what earlier responses of the turn have said before the whole text of the last one."""
    if isinstance(event, TurnCompleted) and event.text is not None:
        return TurnCompleted(event.stop_reason, before + event.text)
    return event
