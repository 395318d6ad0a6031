"""The built-in model: no language model, but the sentences of the documents that answer a question.

It calls a tool only when the user names it: ``use TOOL {json}`` or ``call TOOL {json}``.
"""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING

from agent.errors import ContentTypeNotSupported, PayloadTooLarge, UnsupportedOperation
from agent.stacks.base import Health, Model
from agent.stacks.embedded.messages import (
    ModelMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
    size_of,
    tokens,
)
from agent.stacks.embedded.model import Stop
from agent.stacks.embedded.retrieval import ATTACHED_CHARS, Excerpts, find_answer
from agent.stacks.turn import TextDelta, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from agent.stacks.embedded.knowledge import Knowledge
    from agent.stacks.embedded.messages import Message
    from agent.stacks.embedded.model import Piece, Prompt
    from agent.stacks.response_format import ResponseFormat

IDENTIFIER, PROVIDER = "extractive", "embedded"

_DIRECTIVE = re.compile(r"\b(?:use|call)\s+([\w.:/-]+)\s*(?=(\{)|$|[.!?\n])", re.IGNORECASE)
_WORD = re.compile(r"\s+\S*\s*|\S+\s*")
_decode = json.JSONDecoder().raw_decode


class ExtractiveModel:
    """Answers from documents, word for word."""

    provider = PROVIDER

    def __init__(self, knowledge: Knowledge) -> None:
        """Keep the documents; they are searched when something is asked."""
        self._knowledge = knowledge

    async def infer(self, prompt: Prompt) -> AsyncGenerator[Piece]:
        """Yield citations, then the answer word by word.

        Tokens are an estimate: one for every four characters of the conversation, as far as the model is
        given it, and of what it says.
        """
        *before, last = prompt.messages
        call: ToolCall | None = None
        if not isinstance(last, UserMessage):
            answer = Excerpts(_results(prompt.messages))
        elif isinstance(asked := _called(last.text, prompt), ToolCall):
            answer, call = Excerpts(""), asked
        elif asked:
            answer = Excerpts(asked)
        else:
            knowledge = self._knowledge if prompt.may_search else None
            answer = await find_answer(knowledge, last, before)
        for citation in answer.citations():
            yield citation
        for word in _WORD.findall(answer.text):
            yield TextDelta(word)
        if call:
            yield call
        said = ModelMessage(answer.text, (call,) if call else ())
        yield Usage(tokens(size_of(prompt.messages)), tokens(size_of([said])))
        yield Stop("end_of_message" if call else "end_of_turn")

    def check(self, message: UserMessage, wanted: ResponseFormat | None = None) -> None:
        """Take text only, and not more than is searched."""
        if wanted:
            raise UnsupportedOperation(
                "An answer with a JSON schema needs a language model, and none is configured."
            )
        if message.images:
            media_type = message.images[0].removeprefix("data:").partition(";")[0]
            raise ContentTypeNotSupported(
                f"The media type {media_type} needs a language model, and none is configured."
            )
        if sum(len(attachment.text) for attachment in message.attachments) > ATTACHED_CHARS:
            raise PayloadTooLarge(
                f"Without a language model, attached text may have {ATTACHED_CHARS} characters."
            )

    def wants_tools(self, message: UserMessage) -> bool:
        """Look for tools only when the message names one."""
        return bool(_DIRECTIVE.search(message.text))

    async def catalogue(self) -> Sequence[Model]:
        """Name the one model."""
        return (Model(f"{PROVIDER}/{IDENTIFIER}", PROVIDER),)

    async def resolve(self, _name: str) -> str:
        """Name the one model."""
        return IDENTIFIER

    async def health(self) -> Health:
        """Need nothing that could be down."""
        return Health(ok=True)

    async def close(self) -> None:
        """Hold nothing."""


def _called(text: str, prompt: Prompt) -> ToolCall | str | None:
    """Return the tool call that a message asks for, or what is wrong with it."""
    names = [tool.name for tool in prompt.tools]
    for found in _DIRECTIVE.finditer(text):
        name, has_arguments = found[1].rstrip("."), bool(found[2])
        if name not in names:
            if has_arguments:
                return f"There is no tool {name}. The tools are: {', '.join(names) or 'none'}."
            continue
        try:
            value, _end = _decode(text, found.end()) if has_arguments else ({}, 0)
            arguments = json.dumps(value, ensure_ascii=False, allow_nan=False)
            arguments.encode()  # half a surrogate pair is not text
        except (ValueError, RecursionError):
            return f"What follows {name} is not valid JSON, so the tool was not called."
        return ToolCall(f"call_{uuid.uuid4().hex}", name, arguments)
    return None


def _results(messages: Sequence[Message]) -> str:
    """Return what the tools said since the model last spoke."""
    results: list[str] = []
    for message in reversed(messages):
        if not isinstance(message, ToolMessage):
            break
        results.insert(0, message.content)
    return "\n\n".join(results) or "The tool returned nothing."
