"""The steps of a turn -> the tool calls and results of LCS."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from rest_compat.lightspeed.tool_summaries import ToolCallSummary, ToolResultSummary

if TYPE_CHECKING:
    from agent.model import Json

LISTING = "mcp_list_tools"
_SEARCH = "file_search_call"
_TYPES = {"tool_listing": LISTING, "memory_retrieval": _SEARCH}
"""The types of calls whose steps tell none."""
_TOOLS = frozenset({"tool_execution", *_TYPES})


class ToolSteps:
    """Reads the steps of one turn in their order; rounds count how often the model was asked."""

    def __init__(self) -> None:
        """Nothing has happened."""
        self._round = 0
        self._types: dict[str, str] = {}

    def read(self, step: Json) -> ToolCallSummary | ToolResultSummary | None:
        """Return what a step says of a tool; None when it says nothing."""
        kind, began = step.get("kind"), step.get("state") == "started"
        if kind == "inference" and began:
            self._round += 1
        detail = step.get("detail")
        if kind not in _TOOLS or not isinstance(detail, dict) or "call_id" not in detail:
            return None
        # Steps are a stack's own; what is made of them is JSON.
        detail = msgspec.json.decode(msgspec.json.encode(detail))
        name, call_id = step.get("name", ""), str(detail["call_id"])
        if began:
            return self._call(kind, name, call_id, detail)
        return self._result(kind, name, call_id, detail)

    def _call(self, kind: str, name: str, call_id: str, detail: Json) -> ToolCallSummary:
        called = self._types[call_id] = str(detail.get("type") or _TYPES.get(kind, "tool_call"))
        if kind == "tool_listing":
            return ToolCallSummary(
                id=call_id, name=LISTING, args={"server_label": name}, type=called
            )
        args = _object(detail.get("arguments"))
        if label := detail.get("server_label"):
            args = {**args, "server_label": label}
        return ToolCallSummary(id=call_id, name=name, args=args, type=called)

    def _result(self, kind: str, name: str, call_id: str, detail: Json) -> ToolResultSummary:
        if kind == "tool_listing":
            content: Json = {"server_label": name, "tools": detail.get("tools", [])}
        else:
            content = detail.get("result", "")
        return ToolResultSummary(
            id=call_id,
            status="failure" if detail.get("failed") else "success",
            content=content if isinstance(content, str) else json.dumps(content),
            type=self._types.pop(call_id, "") or _TYPES.get(kind, "tool_result"),
            round=max(self._round, 1),
        )


def _object(arguments: Json) -> dict[str, Json]:
    """Return arguments as an object: those that are none, or not whole, as one argument."""
    if isinstance(arguments, str):
        try:
            return msgspec.json.decode(arguments, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            pass
    if isinstance(arguments, dict):
        return arguments
    return {"args": arguments} if arguments else {}
