"""Turns on Llama Stack 0.4 and later, and on OGX: the Responses and Conversations APIs.

A conversation is one of the server's; a turn is a response in it, and is known by its id.
"""

from __future__ import annotations

import logging
import re
from contextlib import aclosing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, override

import anyio
import httpx

from agent.errors import InvalidAgentResponse, ModelNotFound, StackError, TurnFailed
from agent.stacks.base import Model
from agent.stacks.catalogue import LlamaStackCatalogue
from agent.stacks.client import ConversationLost, translating
from agent.stacks.mcp_access import CredentialsNeeded, forgetting, refusing, usable
from agent.stacks.responses_api_events import Translation
from agent.stacks.responses_api_request import (
    answers_of,
    asks_of,
    body_of,
    input_of,
    mcp_tools,
    shown_in,
    unusable_toolgroups,
)
from agent.stacks.responses_api_wire import (
    Response,
    answer_of,
    decode,
    question_of,
    refusal_of,
)
from agent.stacks.turn import Failed, Json, TextDelta, TurnCompleted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterator, Sequence

    from llama_stack_client import AsyncStream

    from agent.settings import Settings
    from agent.stacks.turn import Credentials, Owner, TurnEvent, TurnRequest

_log = logging.getLogger(__name__)

_ID = re.compile(r"[\w-]+", re.ASCII)  # ids become segments of a path
_CONVERSATION = re.compile(r"conv_\w+", re.ASCII)
_NOT_SERVED = (404, 405, 501)


class ResponsesApiStack(LlamaStackCatalogue):
    """Runs turns on the Responses API of a Llama Stack or OGX server.

    The shields of the settings become guardrails. On a server that has no guardrails a turn fails:
    to go on without a shield that is configured is not for this stack to decide.
    """

    settle_seconds = 10.0
    """How long a server may keep a stream open after its last event."""

    def __init__(self, settings: Settings) -> None:
        """Connect to nothing yet."""
        super().__init__(settings)
        self._model: str | None = None

    @override
    async def open(self) -> None:
        """Build the client; the model is found when it is first needed, the server may be down."""
        for name in unusable_toolgroups(self.settings):
            _log.warning("the Responses API has no tool for the tool group %s", name)
        await super().open()

    @override
    async def start_conversation(self, owner: Owner) -> str:
        """Return the id of a new conversation of the server."""
        with translating():
            return (await self.client.conversations.create()).id

    @override
    async def turn(self, request: TurnRequest) -> AsyncIterator[TurnEvent]:
        """Run one response; closing the iterator closes its stream, which stops it."""
        if not _CONVERSATION.fullmatch(request.conversation_id):
            raise ConversationLost  # an id of another stack, which this server never knew
        body = body_of(self.settings, request, request.model or await self._default_model())
        body["input"] = await self._input(request)
        try:
            servers = await usable(self.settings.mcp_servers, request.credentials)
        except CredentialsNeeded as exc:
            yield exc.event
            return
        body["tools"] += await mcp_tools(self.settings, servers, request.credentials)
        asks = asks_of(self.settings)
        said: list[str] = []
        for _ in range(self.settings.agent.max_infer_iters):
            translation = Translation(asks)
            before = "".join(said)
            async with aclosing(self._respond(body, translation, request.credentials)) as events:
                async for event in events:
                    if isinstance(event, TextDelta):
                        said.append(event.text)
                    yield _after(before, event)
            if translation.to_approve is None:
                return
            body["input"] = answers_of(None, translation.to_approve, asks)
        yield Failed("The agent stopped at its limit of steps without an answer.")

    async def _respond(
        self, body: dict[str, Json], translation: Translation, credentials: Credentials
    ) -> AsyncGenerator[TurnEvent]:
        """Run one response; one that fails at an MCP server may do so for want of credentials."""
        try:
            with self._forgetting_model(), forgetting(shown_in(body["tools"])):
                async with aclosing(self._stream(body, translation)) as events:
                    async for wire in events:
                        for event in translation.read(wire):
                            yield event
                for event in translation.end():
                    yield event
        except StackError:
            servers = self.settings.mcp_servers
            needed = translation.at_tool_server and await refusing(servers, credentials)
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

    async def _stream(
        self, body: dict[str, Json], translation: Translation
    ) -> AsyncGenerator[Json]:
        """Yield the decoded events of the response, up to the last one."""
        from llama_stack_client import AsyncStream

        responses = self.client.responses.with_streaming_response
        rest = {key: value for key, value in body.items() if key not in ("model", "input")}
        opening: Any = responses.create(
            model=body["model"], input=body["input"], stream=True, extra_body=rest
        )
        with translating(), _explaining_guardrails(body):
            async with opening as answer:
                # plain JSON: the client's own models know only 0.3.5 and cost more than the rest
                stream = await answer.parse(to=AsyncStream[object])
                try:
                    async for wire in stream:
                        yield wire
                        if translation.finished:
                            break
                except UnicodeDecodeError as exc:
                    raise InvalidAgentResponse from exc
                await self._settle(stream)

    async def _settle(self, stream: AsyncStream[object]) -> None:
        """Let the server hang up: 0.3.5 files the answer only after its last event."""
        with anyio.move_on_after(self.settle_seconds), suppress(httpx.HTTPError, ValueError):
            async for _ in stream:
                pass

    async def _default_model(self) -> str:
        inference = self.settings.inference
        if model := inference.default_model:
            provider = f"{inference.default_provider}/" if inference.default_provider else ""
            return model if model.startswith(provider) else provider + model
        if self._model is None:
            llms = [model for model in await self.models() if model.model_type == "llm"]
            if not llms:
                raise ModelNotFound("The stack behind this agent serves no language model.")
            self._model = llms[0].identifier
        return self._model

    @contextmanager
    def _forgetting_model(self) -> Iterator[None]:
        """Look for another model once the one that was found is gone."""
        try:
            yield
        except ModelNotFound:
            self._model = None
            raise

    @override
    async def cancel(self, conversation_id: str, turn_id: str) -> None:
        """Cancel the response on servers that can; all stop it when its stream is closed."""
        from llama_stack_client import APIStatusError

        with translating():
            try:
                await self.client.post(f"/v1/responses/{_safe(turn_id)}/cancel", cast_to=object)
            except APIStatusError as exc:
                if exc.status_code not in (*_NOT_SERVED, 409):
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
                answer = await self.client.responses.with_raw_response.retrieve(_safe(turn_id))
                return decode(await answer.json(), Response)
        except ConversationLost:  # what a response that is not found means as well
            return None

    @override
    async def models(self) -> Sequence[Model]:
        """Return all models, embedding models too."""
        with translating():
            return [_model(model.to_dict()) for model in await self.client.models.list()]

    @override
    async def shields(self) -> Sequence[Json]:
        """Return the shields as the server describes them; OGX has none."""
        return await _if_served(super().shields())

    @override
    async def tools(self) -> Sequence[Json]:
        """Return the tools of all tool groups as the server describes them."""
        return await _if_served(super().tools())

    @override
    async def vector_stores(self) -> Sequence[Json]:
        """Return the vector stores as the server describes them."""
        return await _if_served(super().vector_stores())


def _after(before: str, event: TurnEvent) -> TurnEvent:
    """Put what earlier responses of the turn have said before the whole text of the last one."""
    if isinstance(event, TurnCompleted) and event.text is not None:
        return TurnCompleted(event.stop_reason, before + event.text)
    return event


@contextmanager
def _explaining_guardrails(body: dict[str, Json]) -> Iterator[None]:
    from llama_stack_client import BadRequestError

    try:
        yield
    except BadRequestError as exc:
        if "guardrails" in body and "guardrails" in str(exc.body):
            raise TurnFailed("Llama Stack cannot apply the shields of this agent.") from exc
        raise


async def _if_served(listing: Awaitable[Sequence[Json]]) -> Sequence[Json]:
    try:
        return await listing
    except StackError as exc:
        if getattr(exc.__cause__, "status_code", None) in _NOT_SERVED:
            return []
        raise


def _safe(turn_id: str) -> str:
    if not _ID.fullmatch(turn_id):
        raise ConversationLost
    return turn_id


def _model(row: dict[str, Json]) -> Model:
    """Read a model: 0.3.5 has everything at the top, later servers most in ``custom_metadata``."""
    custom = row.get("custom_metadata")
    about = custom if isinstance(custom, dict) else row
    metadata = row.get("metadata") if about is row else about
    return Model(
        identifier=str(row.get("identifier") or row.get("id") or ""),
        provider_id=str(about.get("provider_id") or row.get("owned_by") or ""),
        model_type=str(about.get("model_type") or about.get("api_model_type") or "llm"),
        metadata=metadata if isinstance(metadata, dict) else {},
    )
