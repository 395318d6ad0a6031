"""Builds the body of a Responses request from a turn request and the settings.

No I/O, except that ``mcp_tools`` reads the files in which the secrets of MCP servers are kept.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import msgspec

from agent.errors import ContentTypeNotSupported, InvalidParams
from agent.stacks.mcp_headers import headers_of
from agent.stacks.offered import NOTHING
from agent.stacks.response_format import response_format
from agent.stacks.responses_api_wire import waits_for
from agent.stacks.turn import Answer, ClientTool, DataPart, FilePart, Json, Part, TextPart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agent.settings import Settings
    from agent.settings.lcs import McpServer
    from agent.stacks.offered import Offered
    from agent.stacks.responses_api_wire import OutputItem, Response
    from agent.stacks.turn import Credentials, Resume, TurnRequest

type JsonObject = dict[str, Json]

_TEXTS = ("application/json", "application/yaml", "application/x-yaml")
_TEXT_SUFFIXES = ("+json", "+yaml")
FILE_SEARCH_GROUPS = ("builtin::rag", "builtin::file_search")  # 0.3 and later
_WEB_SEARCH = "builtin::websearch"
_MCP = "mcp::"
BY_VALUE = "This agent takes files by value, not by reference."


def body_of(
    settings: Settings, request: TurnRequest, model: str, offered: Offered = NOTHING
) -> JsonObject:
    """Build the body, without input and the tools of MCP servers; raises ``InvalidParams``.

    Without a conversation nothing of it is kept by the server. Of what is ``offered`` the stores are
    searched; the shields are no guardrails, for those check answers too.
    """
    agent, options = settings.agent, request.options
    instructions = options.instructions
    body: JsonObject = {
        "model": model,
        "conversation": request.conversation_id or None,
        "store": None if request.conversation_id else False,
        "instructions": settings.instructions if instructions is None else instructions,
        "tools": [] if options.no_tools else _tools(settings, request, offered.stores),
        "max_infer_iters": agent.max_infer_iters,
        "max_output_tokens": agent.max_tokens,
        "temperature": agent.temperature,
        "guardrails": shields_of(settings, request) or None,
        "text": _text(request.metadata),
    }
    return {key: value for key, value in body.items() if value is not None}


def shields_of(settings: Settings, request: TurnRequest) -> list[str]:
    """Return the shields of a turn: guardrails check both the message and the answer."""
    agent, chosen = settings.agent, request.options.shields
    configured = (*(agent.input_shields or ()), *agent.output_shields)
    return list(dict.fromkeys(configured if chosen is None else chosen))


def input_of(parts: Sequence[Part]) -> Json:
    """Build the input from a message of the user; raises ``ContentTypeNotSupported``."""
    content = [_content(part) for part in parts]
    if all(item["type"] == "input_text" for item in content):
        # as one text: Llama Stack drops a message in a list that repeats the one before it
        return "\n\n".join(item["text"] for item in content)
    return [{"type": "message", "role": "user", "content": content}]


def after(history: Sequence[JsonObject], given: Json) -> Json:
    """Put the messages of a conversation that the server does not know before an input."""
    if not history:
        return given
    if isinstance(given, str):
        given = [{"type": "message", "role": "user", "content": given}]
    return [*history, *given]


def asks_of(settings: Settings) -> Callable[[OutputItem], bool]:
    """Return what tells whether the caller is to approve a call.

    The server asks for every tool of an MCP server that names some which want approval.
    """
    servers = {server.name: server for server in settings.mcp_servers}

    def asks(item: OutputItem) -> bool:
        server = servers.get(item.server_label or "")
        return server is None or server.wants_approval(item.name)

    return asks


def answers_of(
    resume: Resume | None, response: Response, asks: Callable[[OutputItem], bool] = lambda _: True
) -> list[JsonObject]:
    """Build the input from the answers to what ``response`` waits for, all of it and no more.

    What ``asks`` says no to is approved. Raises ``InvalidParams``: what the server makes of other
    answers is a failed turn.
    """
    waiting = {call_id: item for item in response.output if (call_id := waits_for(item))}
    answers = {answer.call_id: answer for answer in resume.answers} if resume else {}
    for call_id, item in waiting.items():
        if item.type == "mcp_approval_request" and not asks(item):
            answers[call_id] = Answer(call_id, "", approve=True)
    if unasked := answers.keys() - waiting.keys():
        raise InvalidParams("message.parts", f"nothing waits for an answer to {min(unasked)}")
    if missing := waiting.keys() - answers.keys():
        raise InvalidParams("message.parts", f"an answer to {min(missing)} is missing")
    return [
        built for call_id, answer in answers.items() for built in _answer(answer, waiting[call_id])
    ]


def _answer(answer: Answer, item: OutputItem) -> Iterator[JsonObject]:
    if item.type == "function_call":
        yield {
            "type": "function_call_output",
            "call_id": answer.call_id,
            "output": answer.content,
        }
        return
    if answer.approve is None:
        raise InvalidParams("message.parts", f"{answer.call_id} wants to be approved or denied")
    # the server looks for what is approved among the input only, not in the conversation
    yield {
        "type": item.type,
        "id": item.id,
        "name": item.name,
        "arguments": item.arguments,
        "server_label": item.server_label,
    }
    yield {
        "type": "mcp_approval_response",
        "approval_request_id": answer.call_id,
        "approve": answer.approve,
    }


def _content(part: Part) -> JsonObject:
    match part:
        case TextPart():
            return {"type": "input_text", "text": part.text}
        case DataPart():
            return {"type": "input_text", "text": msgspec.json.encode(part.data).decode()}
        case FilePart():
            return _file(part)


def _file(file: FilePart) -> JsonObject:
    media_type = file.media_type.partition(";")[0].strip().lower()
    if media_type.startswith("image/"):
        return {"type": "input_image", "detail": "auto", "image_url": _image_url(file, media_type)}
    is_text = media_type.startswith("text/") or media_type in _TEXTS
    if not is_text and not media_type.endswith(_TEXT_SUFFIXES):
        raise ContentTypeNotSupported(f"The media type {media_type} is not supported.")
    if file.data is None:
        raise ContentTypeNotSupported(BY_VALUE)
    charset = file.media_type.partition("charset=")[2].strip(' "') or "utf-8-sig"
    try:
        text = file.data.decode(charset)
    except (LookupError, UnicodeDecodeError) as exc:
        raise ContentTypeNotSupported(
            f"A file of type {media_type} is not text in the charset it names."
        ) from exc
    title = f"Document {file.name}" if file.name else "Document"
    return {"type": "input_text", "text": f"{title}:\n\n{text}"}


def _image_url(image: FilePart, media_type: str) -> str:
    if image.data is None:
        # The model's provider would fetch what a URI names, and callers must not send it places.
        raise ContentTypeNotSupported(BY_VALUE)
    return f"data:{media_type};base64,{base64.b64encode(image.data).decode()}"


def _text(metadata: JsonObject) -> JsonObject | None:
    wanted = response_format(metadata)
    return None if wanted is None else {"format": {"type": "json_schema", **wanted.fields}}


def _function_tools(settings: Settings, request: TurnRequest) -> Iterator[JsonObject]:
    configured = (
        ClientTool(tool.name, tool.description, tool.input_schema)
        for tool in settings.agent.client_tools
    )
    tools = {tool.name: tool for tool in (*configured, *request.tools)}
    for tool in tools.values():
        yield {
            "type": "function",
            "name": tool.name,
            "description": tool.description or tool.name,  # 0.3.5 fails without one
            "parameters": tool.input_schema or {"type": "object", "properties": {}},
        }


def _tools(settings: Settings, request: TurnRequest, offered: Sequence[str]) -> list[JsonObject]:
    stores = request.options.vector_store_ids
    searched = offered if stores is None else stores
    search = [_file_search(searched)] if searched else []
    for name, args in _toolgroups(settings):
        tool = _search_tool(name, args)
        if tool and (stores is None or tool["type"] != "file_search"):
            search.append(tool)
    return [*search, *_function_tools(settings, request)]


def _file_search(stores: Sequence[str]) -> JsonObject:
    return {"type": "file_search", "vector_store_ids": list(stores)}


def _search_tool(name: str, args: JsonObject) -> JsonObject | None:
    stores = args.get("vector_db_ids") or args.get("vector_store_ids")
    if name in FILE_SEARCH_GROUPS and isinstance(stores, list):
        return _file_search(stores)
    return {"type": "web_search"} if name == _WEB_SEARCH else None


def unusable_toolgroups(settings: Settings) -> list[str]:
    """Give the names of the configured tool groups that the Responses API has no tool for."""
    servers = {_MCP + server.name for server in settings.mcp_servers}
    return [
        name
        for name, args in _toolgroups(settings)
        if name not in servers and _search_tool(name, args) is None
    ]


def _toolgroups(settings: Settings) -> Iterator[tuple[str, JsonObject]]:
    """Yield the tool groups by name, without the one tool that a name may select, and arguments."""
    for group in settings.agent.toolgroups or ():
        name, args = (group, {}) if isinstance(group, str) else (group.name, group.args)
        yield name.partition("/")[0], args


async def mcp_tools(
    settings: Settings, servers: Sequence[McpServer], credentials: Credentials
) -> list[JsonObject]:
    """Build the tools of these MCP servers with their secrets, anew for each turn."""
    return [await _mcp_tool(settings, server, credentials) for server in servers]


async def _mcp_tool(settings: Settings, server: McpServer, credentials: Credentials) -> JsonObject:
    tool: JsonObject = {
        "type": "mcp",
        "server_label": server.name,
        "server_url": server.url,
        "require_approval": _approval(server),
    }
    headers = {}
    for header, value in (await headers_of(server, credentials)).items():
        if header.lower() == "authorization":  # not taken among the headers; Bearer is put before
            scheme, _, token = value.partition(" ")
            tool["authorization"] = token.strip() if scheme.lower() == "bearer" else value
        else:
            headers[header] = value
    if headers:
        tool["headers"] = headers
    if chosen := _chosen(settings.agent.toolgroups or (), server):
        tool["allowed_tools"] = chosen
    return tool


def shown_in(tools: Sequence[JsonObject]) -> list[str]:
    """Return the secrets in definitions of tools."""
    return [
        value
        for tool in tools
        for value in (tool.get("authorization"), *tool.get("headers", {}).values())
        if value
    ]


def _approval(server: McpServer) -> Json:
    asked = server.require_approval
    return asked if isinstance(asked, str) else {"always": list(asked)}


def _chosen(groups: Sequence[Json], server: McpServer) -> list[str]:
    """Give the tools that the tool groups select of a server; empty for all of them."""
    names = [group if isinstance(group, str) else group.name for group in groups]
    group = _MCP + server.name
    if group in names:
        return []
    return [name.removeprefix(group + "/") for name in names if name.startswith(group + "/")]
