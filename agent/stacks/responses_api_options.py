"""What a turn on the Responses API has of its agent and of its message: no I/O.

The agent is that of the settings, or one that a caller has made.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from agent.errors import InvalidParams
from agent.stacks.response_format import RESPONSE_FORMAT, response_format
from agent.stacks.turn import AgentOptions, ClientTool, Json, Sampling, ToolGroup

if TYPE_CHECKING:
    from agent.settings import Settings
    from agent.stacks.turn import TurnRequest

type JsonObject = dict[str, Json]

_log = logging.getLogger(__name__)

_FILE_SEARCH = ("file_search", "knowledge_search")
_WEB_SEARCH = ("web_search", "brave_search")


def agent_of(settings: Settings, request: TurnRequest) -> AgentOptions:
    """Return the agent that answers, but for tool groups and shields that the settings leave open."""
    if request.agent is not None:
        return request.agent
    own = settings.agent
    return AgentOptions(
        agent_id="",
        instructions=settings.instructions,
        toolgroups=groups_of(settings),
        client_tools=tuple(
            ClientTool(tool.name, tool.description, tool.input_schema) for tool in own.client_tools
        ),
        max_infer_iters=own.max_infer_iters,
        sampling=Sampling(temperature=own.temperature, max_tokens=own.max_tokens),
        input_shields=own.input_shields or (),
        output_shields=own.output_shields,
    )


def groups_of(settings: Settings) -> tuple[ToolGroup, ...]:
    """Return the tool groups of the settings; none where they leave them open."""
    groups = settings.agent.toolgroups or ()
    return tuple(
        ToolGroup(group) if isinstance(group, str) else ToolGroup(group.name, group.args)
        for group in groups
    )


def chosen_groups(request: TurnRequest) -> tuple[ToolGroup, ...] | None:
    """Return the tool groups that a message or its agent names; None leaves them to the settings."""
    if request.options.toolgroups is not None:
        return request.options.toolgroups
    return None if request.agent is None else request.agent.toolgroups


def has_tools(request: TurnRequest) -> bool:
    """Tell whether a turn may have tools: ``none`` of them is how no server calls any."""
    return not request.options.no_tools and chosen_tool(request) != "none"


def chosen_tool(request: TurnRequest) -> str:
    """Return what a message or its agent says of which tools are called: auto, none, required, a name."""
    if request.options.tool_choice is not None:
        return request.options.tool_choice
    return "auto" if request.agent is None else request.agent.tool_choice


def tool_choice(request: TurnRequest, tools: list[JsonObject]) -> Json:
    """Return the choice as the Responses API has it; None leaves it to the model.

    What is chosen holds until a tool was called, or a turn would never end. ``tools`` are those of the
    turn. Raises ``InvalidParams`` for a tool that none of them can be.
    """
    chosen = chosen_tool(request)
    if chosen in ("auto", "none") or (request.resume and request.resume.answers):
        return None
    if chosen == "required":
        return chosen if tools else None
    kinds = {tool["type"] for tool in tools}
    if chosen in {tool["name"] for tool in tools if tool["type"] == "function"}:
        return {"type": "function", "name": chosen}
    for names, kind in ((_FILE_SEARCH, "file_search"), (_WEB_SEARCH, "web_search")):
        if chosen in names and kind in kinds:
            return {"type": kind}
    if "mcp" not in kinds:
        raise InvalidParams("tool_choice", f"there is no tool {chosen}")
    # which tools an MCP server has shows in the turn only: there they are functions
    return {"type": "function", "name": chosen}


def input_shields(request: TurnRequest) -> tuple[str, ...] | None:
    """Return the shields that check only the message; None leaves them to the settings.

    A question that is told how to sample, and nothing else, comes with an agent without id.
    """
    if request.agent is None or not request.agent.agent_id or request.options.shields is not None:
        return None
    return request.agent.input_shields


def shields_of(settings: Settings, request: TurnRequest) -> list[str]:
    """Return the shields of a turn that are guardrails: those check both the message and the answer."""
    agent, chosen, own = request.agent, request.options.shields, settings.agent
    configured = (*(own.input_shields or ()), *own.output_shields)
    if agent is not None and agent.agent_id:
        configured = agent.output_shields
    return list(dict.fromkeys(configured if chosen is None else chosen))


def sampling_of(sampling: Sampling) -> JsonObject:
    """Return how tokens are drawn, as far as the Responses API has fields for it."""
    dropped = {
        "top_k": sampling.top_k,
        "repetition_penalty": sampling.repetition_penalty,
        "stop": sampling.stop or None,
    }
    if names := [name for name, value in dropped.items() if value is not None]:
        _log.debug("the Responses API takes no %s", ", ".join(names))
    return {
        "max_output_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    }


def text_of(request: TurnRequest) -> JsonObject | None:
    """Return the form of the answer: that which the message wants, or that of the agent."""
    wanted = response_format(request.metadata)
    if wanted is None and RESPONSE_FORMAT not in request.metadata and request.agent is not None:
        try:
            wanted = response_format({RESPONSE_FORMAT: request.agent.response_format})
        except InvalidParams as exc:
            raise InvalidParams(exc.field.removeprefix("metadata."), exc.problem) from exc
    return None if wanted is None else {"format": {"type": "json_schema", **wanted.fields}}
