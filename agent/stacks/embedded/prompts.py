"""What a model is asked, as the configuration of its agent has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.stacks.embedded.agent_config import SamplingParams, Strategy
from agent.stacks.embedded.model import Prompt

if TYPE_CHECKING:
    from agent.stacks.embedded.agent_config import AgentConfig
    from agent.stacks.embedded.messages import Message
    from agent.stacks.embedded.tools import Toolbox
    from agent.stacks.response_format import ResponseFormat


def prompt_of(
    config: AgentConfig,
    model: str,
    messages: tuple[Message, ...],
    wanted: ResponseFormat | None = None,
    *,
    may_search: bool = True,
) -> Prompt:
    """Return the prompt without tools; ``model`` is named as its server names it."""
    sampling = config.sampling_params or SamplingParams()
    strategy = sampling.strategy or Strategy()
    return Prompt(
        model=model,
        messages=messages,
        instructions=config.instructions,
        response_format=wanted,
        may_search=may_search,
        max_tokens=sampling.max_tokens or None,
        temperature=strategy.temperature,
        top_p=strategy.top_p,
    )


def with_tools(prompt: Prompt, toolbox: Toolbox) -> Prompt:
    """Tell the model of its tools, and of those that are missing."""
    instructions = "\n".join((prompt.instructions, *toolbox.notes))
    return msgspec.structs.replace(prompt, instructions=instructions, tools=toolbox.specs)
