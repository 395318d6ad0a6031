"""What a model of the embedded stack is: the loop asks it, and knows no more of it than this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from agent.stacks.embedded.messages import Message, ToolCall, UserMessage
from agent.stacks.turn import Citation, ClientTool, Sampling, TextDelta, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from agent.stacks.base import Health, Model
    from agent.stacks.response_format import ResponseFormat


MODES = ("auto", "required", "none")
"""What a tool choice is that names no tool."""


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is asked.

    ``model`` is the name that the model has for its server. Without ``may_call`` no tool may be called any
    more; without ``may_search`` a model that looks into the documents by itself leaves that.
    ``tool_choice`` is auto, required, none, or the name of one of the tools.
    """

    model: str
    messages: tuple[Message, ...]
    instructions: str = ""
    tools: tuple[ClientTool, ...] = ()
    tool_choice: str = "auto"
    may_call: bool = True
    may_search: bool = True
    response_format: ResponseFormat | None = None
    sampling: Sampling = Sampling()


class Stop(msgspec.Struct, frozen=True):
    """The model is done. ``reason`` is end_of_turn, end_of_message or out_of_tokens."""

    reason: str


type Piece = TextDelta | ToolCall | Citation | Usage | Stop


class LanguageModel(Protocol):
    """Answers prompts. ``provider`` and the name of a model make up its identifier."""

    provider: str

    def infer(self, prompt: Prompt) -> AsyncGenerator[Piece]:
        """Yield the answer piece by piece, ``Stop`` last; raises ``StackError``."""

    def check(self, message: UserMessage, wanted: ResponseFormat | None, /) -> None:
        """Raise ``RequestError`` for what the model cannot read, or a form that it cannot give."""

    def wants_tools(self, message: UserMessage, /) -> bool:
        """Tell whether it is worth finding out which tools there are."""

    async def resolve(self, name: str) -> str:
        """Return the name of the model for its server, of the default one for an empty name.

        Raises ``ModelNotFound`` when there is none.
        """

    async def catalogue(self) -> Sequence[Model]:
        """Return the models that may be asked for, the default first."""

    async def health(self) -> Health:
        """Tell whether the model can be asked."""

    async def close(self) -> None:
        """Give everything back."""
