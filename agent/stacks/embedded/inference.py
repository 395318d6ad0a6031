"""Any model that speaks OpenAI's chat completions: vLLM, Ollama, a Llama Stack, OpenAI itself."""

from __future__ import annotations

import asyncio
import logging
from importlib import import_module
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
from agent.stacks.embedded.inference_errors import translating
from agent.stacks.embedded.messages import (
    ModelMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
    size_of,
    tokens,
)
from agent.stacks.embedded.model import Stop
from agent.stacks.turn import TextDelta, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from openai import AsyncOpenAI

    from agent.settings.own import OpenAI
    from agent.stacks.embedded.messages import Message
    from agent.stacks.embedded.model import Piece, Prompt
    from agent.stacks.response_format import ResponseFormat
    from agent.stacks.turn import ClientTool, Json

_log = logging.getLogger(__name__)

PROVIDER = "openai"
OPENAI_URL = "https://api.openai.com/v1"

_CONNECT_SECONDS = 10.0
_PROBE_SECONDS = 10.0
_MODELS = 1000  # of a server that are listed
_STOP_REASONS = {"stop": "end_of_turn", "tool_calls": "end_of_message", "length": "out_of_tokens"}


class OpenAIModel:
    """A model behind an OpenAI-compatible server."""

    provider = PROVIDER

    def __init__(self, server: OpenAI, model: str | None, seconds: float) -> None:
        """Connect to nothing; ``seconds`` bounds the wait for the next piece of an answer."""
        self._server = server
        self._default = model
        self._seconds = seconds
        self._client: AsyncOpenAI | None = None

    async def infer(self, prompt: Prompt) -> AsyncGenerator[Piece]:
        """Stream one completion."""
        client = await self._connect()
        reading = _Reading(prompt)
        with translating(prompt.model):
            body: Any = _body(prompt)
            async with await client.chat.completions.create(**body) as stream:
                async for chunk in stream:
                    for piece in reading.read(chunk):
                        yield piece
        for piece in reading.end():
            yield piece

    def check(self, _message: UserMessage, _wanted: ResponseFormat | None) -> None:
        """Take text, images and schemas; whether the model knows what to do, its server says."""

    def wants_tools(self, _message: UserMessage) -> bool:
        """Let the model choose."""
        return True

    async def catalogue(self) -> Sequence[Model]:
        """Name the model of the settings, and all that the server has.

        Servers do not tell what their models are for; those for embeddings are known by their names.
        """
        names = [self._default] if self._default else []
        names += await self._served()
        return [
            Model(f"{PROVIDER}/{name}", PROVIDER, _type_of(name)) for name in dict.fromkeys(names)
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
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _served(self) -> list[str]:
        """Return the names of the models of the server; none when it has no such list."""
        client = await self._connect()
        try:
            with translating(""):
                models = await client.models.list(timeout=_PROBE_SECONDS)
                return [model.id for model in models.data][:_MODELS]
        except ModelNotFound:
            return []
        except TurnFailed as exc:
            # There is no turn: the server is not well.
            raise StackUnavailable(exc.message) from exc

    async def _connect(self) -> AsyncOpenAI:
        if self._client is None:
            # Importing takes a second, in which others want to be served.
            openai: Any = await asyncio.to_thread(import_module, "openai")
            if self._client is None:
                key = self._server.api_key
                self._client = openai.AsyncOpenAI(
                    base_url=self._server.base_url or OPENAI_URL,
                    # servers of one's own want none, but the client does
                    api_key=key.get_secret_value() if key else "none",
                    max_retries=0,
                    timeout=openai.Timeout(
                        self._seconds, connect=min(self._seconds, _CONNECT_SECONDS)
                    ),
                )
        return self._client


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

    def read(self, chunk: Any) -> Iterator[Piece]:
        """Yield the text of a chunk; keep the rest until the end."""
        if chunk.usage:
            self._usage = Usage(chunk.usage.prompt_tokens or 0, chunk.usage.completion_tokens or 0)
        for choice in (chunk.choices or ())[:1]:
            delta = choice.delta
            if delta is not None and delta.content:
                self._said += len(delta.content)
                yield TextDelta(delta.content)
            for part in (delta.tool_calls if delta is not None else None) or ():
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

    def _extend(self, part: Any) -> None:
        index = len(self._calls) if part.index is None else part.index
        call = self._calls.setdefault(index, _Call())
        call.call_id = part.id or call.call_id or f"call_{index}"
        if part.function is not None:
            call.name += part.function.name or ""
            call.arguments += part.function.arguments or ""


def _type_of(name: str) -> str:
    return "embedding" if "embed" in name.lower() else "llm"


def _body(prompt: Prompt) -> dict[str, Json]:
    form = prompt.response_format
    system = [{"role": "system", "content": prompt.instructions}] if prompt.instructions else []
    body: dict[str, Json] = {
        "model": prompt.model,
        "messages": system + [_message(message) for message in prompt.messages],
        "tools": [_tool(tool) for tool in prompt.tools] or None,
        "tool_choice": "none" if prompt.tools and not prompt.may_call else None,
        "max_tokens": prompt.max_tokens,
        "temperature": prompt.temperature,
        "top_p": prompt.top_p,
        "response_format": form and {"type": "json_schema", "json_schema": form.fields},
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return {key: value for key, value in body.items() if value is not None}


def _tool(tool: ClientTool) -> Json:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.input_schema or {"type": "object", "properties": {}},
        },
    }


def _message(message: Message) -> Json:
    match message:
        case UserMessage():
            return {"role": "user", "content": _content(message)}
        case ToolMessage():
            return {"role": "tool", "tool_call_id": message.call_id, "content": message.content}
        case ModelMessage():
            calls = [
                {
                    "id": call.call_id,
                    "type": "function",
                    "function": {"name": call.tool_name, "arguments": call.arguments},
                }
                for call in message.tool_calls
            ]
            if not calls:
                return {"role": "assistant", "content": message.text}
            return {"role": "assistant", "content": message.text or None, "tool_calls": calls}


def _content(message: UserMessage) -> Json:
    attached = (f"{each.name}:\n\n{each.text}" for each in message.attachments)
    text = "\n\n".join(part for part in (message.text, *attached) if part)
    if not message.images:
        return text
    images = [{"type": "image_url", "image_url": {"url": url}} for url in message.images]
    return [{"type": "text", "text": text}, *images] if text else images
