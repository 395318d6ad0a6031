"""What the caller is shown of tools: listed, called, done. All of it is bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.nesting import too_deep
from agent.stacks.embedded.messages import arguments_of
from agent.stacks.turn import Json, StepEnded, StepStarted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent.stacks.embedded.mcp_listings import McpTool
    from agent.stacks.embedded.messages import ToolCall

MCP, SEARCH, FUNCTION = "mcp_call", "file_search_call", "function_call"
"""The types of tool calls, as the Responses API has them."""

_SHOWN = 4096  # characters of a tool's arguments, of its result and of its schema that are shown
_DESCRIPTION = 1024
_LISTING = 64 * 1024  # characters of all tools of a server


def started(call: ToolCall, about: Mapping[str, str], step_id: str = "") -> StepStarted:
    """Tell that a tool runs; ``about`` has its type, and the server that it is of."""
    detail = {"call_id": call.call_id, "arguments": _shown(readable(call)), **about}
    return StepStarted("tool_execution", call.tool_name, detail, step_id)


def ended(call: ToolCall, result: str, *, failed: bool = False) -> StepEnded:
    """Tell what a tool call came to."""
    detail = {"call_id": call.call_id, "result": _shown(result)}
    return StepEnded("tool_execution", call.tool_name, _judged(detail, failed=failed))


def listing_started(server: str, call_id: str) -> StepStarted:
    """Tell that the tools of an MCP server are listed."""
    return StepStarted("tool_listing", server, {"call_id": call_id})


def listing_ended(
    server: str, call_id: str, tools: Iterable[McpTool] = (), *, failed: bool = False
) -> StepEnded:
    """Tell which tools of an MCP server there are; those that are too many are left out, and counted."""
    shown: list[Json] = []
    left_out = 0
    room = _LISTING
    for tool in tools:
        described = _described(tool)
        room -= len(msgspec.json.encode(described))
        if room >= 0:
            shown.append(described)
        else:
            left_out += 1
    detail: dict[str, Json] = {"call_id": call_id, "tools": shown}
    if left_out:
        detail["left_out"] = left_out
    return StepEnded("tool_listing", server, _judged(detail, failed=failed))


def readable(call: ToolCall) -> Json:
    """Return the arguments as JSON when they are JSON, else the text of the model."""
    arguments = arguments_of(call)
    return call.arguments if arguments is None else arguments


def _judged(detail: dict[str, Json], *, failed: bool) -> dict[str, Json]:
    return {**detail, "failed": True} if failed else detail


def _described(tool: McpTool) -> Json:
    """Show a tool; a schema that is too large or too deep is shown as one of anything."""
    schema = msgspec.json.encode(tool.input_schema)
    fits = len(schema) <= _SHOWN and not too_deep(_NESTED % schema)
    return {
        "name": _cut(tool.name, _DESCRIPTION),
        "description": _cut(tool.description, _DESCRIPTION),
        "input_schema": tool.input_schema if fits else {},
    }


_NESTED = b"[[[[[[[[[[%s]]]]]]]]]]"
"""Deeper than what a schema is shown in."""


def _shown(value: Json) -> Json:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if len(text) > _SHOWN:
        return _cut(text, _SHOWN)
    return text if not isinstance(value, str) and too_deep(_NESTED % text.encode()) else value


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
