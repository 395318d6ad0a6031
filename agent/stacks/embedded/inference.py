"""Any model that speaks OpenAI's chat completions: vLLM, Ollama, a Llama Stack, OpenAI itself."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from agent.errors import (
    InvalidAgentResponse,
    ModelNotFound,
    StackError,
    StackUnavailable,
    TurnFailed,
)
from agent.stacks.base import Health, Model
from agent.stacks.embedded.chat_request import body_of
from agent.stacks.embedded.embeddings import embed
from agent.stacks.embedded.inference_errors import BrokenOff, translating
from agent.stacks.embedded.messages import ToolCall, size_of, tokens
from agent.stacks.embedded.model import Stop
from agent.stacks.embedded.model_server import ModelServer
from agent.stacks.turn import TextDelta, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from agent.settings.own import OpenAI
    from agent.stacks.embedded.messages import UserMessage
    from agent.stacks.embedded.model import Piece, Prompt
    from agent.stacks.response_format import ResponseFormat

PROVIDER = "openai"

_COMPLETIONS = "chat/completions"
_PROBE_SECONDS = 10.0
_MODELS = 1000  # of a server that are listed
_STOP_REASONS = {"stop": "end_of_turn", "tool_calls": "end_of_message", "length": "out_of_tokens"}


class OpenAIModel:
    """A model behind an OpenAI-compatible server."""

    provider = PROVIDER

    def __init__(
        self, server: OpenAI, model: str | None, seconds: float, embedding: str | None = None
    ) -> None:
        """Connect to nothing; ``seconds`` bounds the wait for the next piece of an answer.

        ``embedding`` is the model that texts are embedded with when none is named.
        """
        self._server = ModelServer(server, seconds)
        self._default = model
        self._embedding = embedding

    async def infer(self, prompt: Prompt) -> AsyncGenerator[Piece]:
        """Stream one completion."""
        reading = _Reading(prompt)
        with translating(prompt.model):
            async with aclosing(self._server.stream(_COMPLETIONS, body_of(prompt))) as events:
                async for event in events:
                    for piece in reading.read(event):
                        yield piece
        for piece in reading.end():
            yield piece

    async def embed(self, texts: Sequence[str], model: str | None) -> list[list[float]]:
        """Return the embedding of each text; raises ``ModelNotFound`` and other ``StackError``s."""
        wanted = model or self._embedding
        if wanted is None:
            raise ModelNotFound("No embedding model is chosen: set experimental.embedding_model.")
        return await embed(self._server, wanted, texts)

    def check(self, _message: UserMessage, _wanted: ResponseFormat | None) -> None:
        """Take text, images and schemas; whether the model knows what to do, its server says."""

    def wants_tools(self, _message: UserMessage) -> bool:
        """Let the model choose."""
        return True

    async def catalogue(self) -> Sequence[Model]:
        """Name the models of the settings, and all that the server has.

        Servers do not tell what their models are for; those for embeddings are known by their names.
        """
        names = [self._default, *await self._served(), self._embedding]
        return [
            Model(f"{PROVIDER}/{name}", PROVIDER, self._type_of(name))
            for name in dict.fromkeys(names)
            if name
        ]

    async def resolve(self, name: str) -> str:
        """Return the name, or that of the settings, or that of the one model that the server has."""
        if name:
            return name
        if self._default is None:
            served = await self._served()
            if len(served) != 1:
                known = ", ".join(served[:20]) or "none"
                raise ModelNotFound(
                    f"No model is chosen. Set openai.model to one that the server has: {known}."
                )
            self._default = served[0]
        return self._default

    async def health(self) -> Health:
        """Ask the server for its models."""
        try:
            await self._served()
        except StackError as exc:
            return Health(ok=False, detail=exc.message)
        return Health(ok=True)

    async def close(self) -> None:
        """Close the connections."""
        await self._server.close()

    def _type_of(self, name: str) -> str:
        embeds = name == self._embedding or "embed" in name.lower()
        return "embedding" if embeds else "llm"

    async def _served(self) -> list[str]:
        """Return the names of the models of the server; none when it has no such list."""
        try:
            with translating(""):
                said = await self._server.get("models", _PROBE_SECONDS)
                listed = msgspec.json.decode(said, type=_Listed)
                return [model.id for model in listed.data][:_MODELS]
        except ModelNotFound:
            return []
        except TurnFailed as exc:
            # There is no turn: the server is not well.
            raise StackUnavailable(exc.message) from exc


class _Served(msgspec.Struct):
    id: str


class _Listed(msgspec.Struct):
    """What is read of a list of models."""

    data: list[_Served]


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Part(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_Part] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Counted(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(msgspec.Struct):
    """What is read of a chunk of a completion."""

    choices: list[_Choice] | None = None
    usage: _Counted | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


def _chunk(event: bytes) -> _Chunk:
    """Read the data of an event; raises ``BrokenOff`` for that of an error."""
    try:
        chunk = _decode(event)
    except msgspec.DecodeError:
        chunk = _lenient(event)
    if chunk.error:
        raise BrokenOff(str(chunk.error))
    return chunk


def _lenient(event: bytes) -> _Chunk:
    """Read what servers write that is not quite JSON, such as half of a surrogate pair."""
    wire = json.loads(event.decode())
    if isinstance(wire, dict) and wire.get("error"):
        raise BrokenOff(str(wire["error"]))
    try:
        return msgspec.convert(wire, _Chunk)
    except msgspec.ValidationError as exc:
        raise InvalidAgentResponse("The model server does not answer as OpenAI does.") from exc


class _Call(msgspec.Struct):
    """A tool call, as far as it was streamed."""

    call_id: str = ""
    name: str = ""
    arguments: str = ""


class _Reading:
    """Reads the chunks of one completion."""

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt
        self._said = 0  # characters of text
        self._calls: dict[int, _Call] = {}
        self._finish: str | None = None
        self._usage: Usage | None = None

    def read(self, event: bytes) -> Iterator[Piece]:
        """Yield the text of a chunk; keep the rest until the end."""
        chunk = _chunk(event)
        if chunk.usage:
            self._usage = Usage(chunk.usage.prompt_tokens or 0, chunk.usage.completion_tokens or 0)
        for choice in (chunk.choices or ())[:1]:
            delta = choice.delta or _Delta()
            if delta.content:
                self._said += len(delta.content)
                yield TextDelta(delta.content)
            for part in delta.tool_calls or ():
                self._extend(part)
            self._finish = choice.finish_reason or self._finish

    def end(self) -> Iterator[Piece]:
        """Yield what is known at the end; raises ``StackError`` when there was none."""
        if self._usage or self._finish:
            yield self._usage or self._estimate()
        if self._finish is None:
            raise InvalidAgentResponse("The model server broke off the answer.")
        if self._finish == "content_filter":
            raise TurnFailed("The content filter of the model stopped the answer.")
        # some servers say stop after tool calls; calls that were cut off are worth nothing
        if self._calls and self._finish != "length":
            for call in self._calls.values():
                if not call.name:
                    raise InvalidAgentResponse("The model called a tool without a name.")
                yield ToolCall(call.call_id, call.name, call.arguments or "{}")
            yield Stop("end_of_message")
        else:
            yield Stop(_STOP_REASONS.get(self._finish, "end_of_turn"))

    def _estimate(self) -> Usage:
        """What a server that counts no tokens would have counted, a token for four characters."""
        told = sum(len(tool.name) + len(tool.description) for tool in self._prompt.tools)
        read = len(self._prompt.instructions) + told + size_of(self._prompt.messages)
        called = sum(len(call.name) + len(call.arguments) for call in self._calls.values())
        return Usage(tokens(read), tokens(self._said + called))

    def _extend(self, part: _Part) -> None:
        index = len(self._calls) if part.index is None else part.index
        call = self._calls.setdefault(index, _Call())
        call.call_id = part.id or call.call_id or f"call_{index}"
        if part.function is not None:
            call.name += part.function.name or ""
            call.arguments += part.function.arguments or ""
