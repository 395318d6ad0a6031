"""What of the items of a response is shown to a caller: steps with their arguments and results, citations.

No I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.stacks.responses_api_wire import objects, parsed
from agent.stacks.turn import Citation, Json

if TYPE_CHECKING:
    from agent.stacks.responses_api_wire import OutputItem

SHOWN_CHARS = 4000
"""How much of an argument list, a tool's output or a found text a caller is shown."""

_SHOWN_TOOLS = 100  # tools of one MCP server, queries of one search
_SHOWN_RESULTS = 10  # of one search, beside its citations
_CALLS = ("mcp_call", "file_search_call", "web_search_call")
_URI_ATTRIBUTES = ("doc_url", "docs_url", "url", "link")  # as LCS's documents are stored


def asked(item: OutputItem) -> dict[str, Json]:
    """Give what a step was asked to do, to be shown to the caller."""
    shown: dict[str, Json] = {}
    if item.id:
        shown["call_id"] = item.id
    if item.server_label:
        shown["server_label"] = item.server_label
    if item.type in _CALLS:
        shown["type"] = item.type
        shown["arguments"] = _arguments(item)
    return shown


def _arguments(item: OutputItem) -> Json:
    if item.type == "file_search_call":
        queries = item.queries if isinstance(item.queries, list) else []
        return {"queries": [_shown(_query(query)) for query in queries[:_SHOWN_TOOLS]]}
    if not item.arguments:
        return {}
    short = len(item.arguments) <= SHOWN_CHARS
    return parsed(item.arguments) if short else _shown(item.arguments)


def _query(query: Json) -> Json:
    """Give what was looked for: servers up to 0.7 have the arguments of the model's call in its place."""
    called = parsed(query) if isinstance(query, str) else None
    return called["query"] if isinstance(called, dict) and "query" in called else query


def outcome(item: OutputItem) -> dict[str, Json]:
    """Give what came of a step, to be shown to the caller."""
    shown: dict[str, Json] = {"call_id": item.id} if item.id else {}
    if item.type == "mcp_list_tools":
        shown["tools"] = [_tool(tool) for tool in list(objects(item.tools))[:_SHOWN_TOOLS]]
    elif item.type == "reasoning":
        thoughts = list(objects(item.summary)) or list(objects(item.content))
        shown["text"] = _shown("\n".join(str(each.get("text", "")) for each in thoughts))
    else:
        shown["result"] = _result(item)
        if item.error is not None or item.status == "failed":
            shown["failed"] = True
    return shown


def _result(item: OutputItem) -> str:
    """Give what a tool said; of a search what it found, each with as much as is shown of a text."""
    if item.error is not None:
        said = item.error.get("message") if isinstance(item.error, dict) else None
        return _shown(said or item.error)
    if item.type == "file_search_call":
        found = [msgspec.to_builtins(citation_of_result(each)) for each in objects(item.results)]
        return _json({"results": found[:_SHOWN_RESULTS]})
    return "" if item.output is None else _shown(item.output)


def _tool(tool: dict[str, Json]) -> dict[str, Json]:
    schema = tool.get("input_schema")
    return {
        "name": str(tool.get("name", "")),
        "description": _shown(tool.get("description") or ""),
        "input_schema": schema if len(_json(schema)) <= SHOWN_CHARS else None,
    }


def citation_of_result(result: dict[str, Json]) -> Citation:
    """Read one result of a file search; what the file was stored with tells more than its id."""
    about, score = result.get("attributes"), result.get("score")
    about = about if isinstance(about, dict) else {}
    title = about.get("title") or about.get("filename") or result.get("filename")
    return Citation(
        title=str(title or result.get("file_id") or ""),
        uri=_optional(next((about[key] for key in _URI_ATTRIBUTES if about.get(key)), None)),
        text=_shown(result.get("text", "")),
        document_id=_optional(result.get("file_id")),
        score=float(score) if isinstance(score, int | float) else None,
    )


def citation_of_annotation(annotation: dict[str, Json]) -> Citation:
    """Read one annotation of an answer: a file, or a page of the web."""
    url, file_id = _optional(annotation.get("url")), _optional(annotation.get("file_id"))
    title = annotation.get("title") or annotation.get("filename") or url or file_id
    return Citation(title=str(title or ""), uri=url, document_id=file_id)


def _optional(value: Json) -> str | None:
    return str(value) if value else None


def _shown(value: Json) -> str:
    text = value if isinstance(value, str) else _json(value)
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "…"


def _json(value: Json) -> str:
    return msgspec.json.encode(value).decode()
