"""What a model is asked, as the configuration of its agent has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.stacks.embedded.model import Prompt

if TYPE_CHECKING:
    from agent.stacks.embedded.messages import Message
    from agent.stacks.embedded.tools import Toolbox
    from agent.stacks.response_format import ResponseFormat
    from agent.stacks.turn import AgentOptions


def prompt_of(
    config: AgentOptions,
    model: str,
    messages: tuple[Message, ...],
    wanted: ResponseFormat | None = None,
    *,
    may_search: bool = True,
) -> Prompt:
    """Return the prompt without tools; ``model`` is named as its server names it."""
    return Prompt(
        model=model,
        messages=messages,
        instructions=config.instructions,
        response_format=wanted,
        may_search=may_search,
        sampling=config.sampling,
    )


def with_tools(prompt: Prompt, toolbox: Toolbox, choice: str) -> Prompt:
    """Tell the model of its tools, of those that are missing, and which it is to call.

    Raises ``InvalidParams`` when that is one that there is not.
    """
    instructions = "\n".join((prompt.instructions, *toolbox.notes))
    return msgspec.structs.replace(
        prompt,
        instructions=instructions,
        tools=toolbox.specs,
        tool_choice=toolbox.chosen(choice),
    )
