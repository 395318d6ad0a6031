"""Builds the body of a Responses request from a turn request and the settings: no I/O."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import msgspec

from agent.errors import ContentTypeNotSupported, InvalidParams
from agent.stacks.offered import NOTHING
from agent.stacks.responses_api_options import (
    agent_of,
    chosen_groups,
    groups_of,
    has_tools,
    sampling_of,
    shields_of,
    text_of,
)
from agent.stacks.responses_api_tools import file_search, function_tools, search_tool
from agent.stacks.responses_api_wire import waits_for
from agent.stacks.turn import Answer, DataPart, FilePart, Json, Part, TextPart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agent.settings import Settings
    from agent.stacks.offered import Offered
    from agent.stacks.responses_api_wire import OutputItem, Response
    from agent.stacks.turn import Resume, TurnRequest

type JsonObject = dict[str, Json]

_TEXTS = ("application/json", "application/yaml", "application/x-yaml")
_TEXT_SUFFIXES = ("+json", "+yaml")
BY_VALUE = "This agent takes files by value, not by reference."


def body_of(
    settings: Settings, request: TurnRequest, model: str, offered: Offered = NOTHING
) -> JsonObject:
    """Build the body, without input and what ``ToolGroups`` finds; raises ``InvalidParams``.

    Without a conversation nothing of it is kept by the server. Of what is ``offered`` the stores are
    searched; the shields are no guardrails, for those check answers too.
    """
    agent, options = agent_of(settings, request), request.options
    instructions = options.instructions
    body: JsonObject = {
        "model": model,
        "conversation": request.conversation_id or None,
        "store": None if request.conversation_id else False,
        "instructions": agent.instructions if instructions is None else instructions,
        "tools": list(_tools(settings, request, offered.stores)) if has_tools(request) else [],
        "max_infer_iters": agent.max_infer_iters,
        **sampling_of(agent.sampling),
        "guardrails": shields_of(settings, request) or None,
        "text": text_of(request),
    }
    return {key: value for key, value in body.items() if value is not None}


def _tools(
    settings: Settings, request: TurnRequest, offered: Sequence[str]
) -> Iterator[JsonObject]:
    wanted = request.options.vector_store_ids
    if searched := offered if wanted is None else wanted:
        yield file_search(searched)
    for group in groups_of(settings) if chosen_groups(request) is None else ():
        tool = search_tool(group)
        if tool and (wanted is None or tool["type"] != "file_search"):
            yield tool
    yield from function_tools((*agent_of(settings, request).client_tools, *request.tools))


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
