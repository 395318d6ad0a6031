"""A turn that is nothing but one question and its answer."""

from __future__ import annotations

import uuid
from contextlib import aclosing
from typing import TYPE_CHECKING

from agent.errors import TurnFailed
from agent.stacks.turn import (
    AgentOptions,
    AuthRequired,
    DirectMessage,
    Failed,
    Inferred,
    InputRequired,
    Rejected,
    TextDelta,
    TextPart,
    TurnCompleted,
    TurnOptions,
    TurnRequest,
    TurnStarted,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from agent.stacks.turn import Inference, TurnEvent

TOPIC = (
    "Name the topic of the user's question in at most eight words, without quotation marks and "
    "without a full stop. Do not answer the question."
)
"""What a model is told that is to name the topic of a conversation."""


class Declined(TurnFailed):
    """The question was refused, as a shield does; the message is what it says instead of an answer."""


def request_for(asked: Inference, conversation_id: str) -> TurnRequest:
    """Return the request of a turn without tools."""
    agent = None
    if asked.sampling is not None:
        agent = AgentOptions(agent_id="", instructions=asked.instructions, sampling=asked.sampling)
    return TurnRequest(
        conversation_id=conversation_id,
        task_id=str(uuid.uuid4()),
        context_id=conversation_id,
        message_id=str(uuid.uuid4()),
        owner=asked.owner,
        tenant="",
        parts=(TextPart(asked.text),),
        model=asked.model,
        options=TurnOptions(instructions=asked.instructions, no_tools=True),
        agent=agent,
    )


async def answer_of(events: AsyncIterator[TurnEvent]) -> Inferred:
    """Return what a turn says; raises ``TurnFailed`` when it ends without an answer, ``Declined`` too.

    What it cost is None when the turn does not tell.
    """
    said, model = "", None
    spent: Usage | None = None
    async with aclosing(_closing(events)) as heard:
        async for event in heard:
            match event:
                case TurnStarted(_, name):
                    model = name or model
                case TextDelta(text, None):
                    said += text
                case Usage(went_in, came_out):
                    before = spent or Usage(0, 0)
                    spent = Usage(before.input_tokens + went_in, before.output_tokens + came_out)
                case TurnCompleted(_, text):
                    return Inferred(said if text is None else text, model, spent)
                case DirectMessage(parts):
                    texts = [part.text for part in parts if isinstance(part, TextPart)]
                    return Inferred("\n\n".join(texts), model, spent)
                case Failed(text) | Rejected(text) | InputRequired(text) | AuthRequired(text):
                    raise (Declined if isinstance(event, Rejected) else TurnFailed)(text)
    raise TurnFailed


async def _closing(events: AsyncIterator[TurnEvent]) -> AsyncGenerator[TurnEvent]:
    """Close the turn with its reader; a stack may give an iterator that cannot be closed."""
    try:
        async for event in events:
            yield event
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()
