"""One turn as LCS writes it down: what was asked, what was answered, and what that was taken from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from agent.conversation_turns import CITATIONS, TOOL_RESULTS
from agent.model import Role, TaskState
from agent.parts import read_parts
from agent.stacks import FilePart
from agent.translation import ANSWER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from agent.model import Artifact, Json, Message, Part, Task

# What the agent says beside an answer, or instead of it; why a task failed is no word of a model.
_SPEAKS = frozenset(
    {
        TaskState.COMPLETED,
        TaskState.REJECTED,
        TaskState.INPUT_REQUIRED,
        TaskState.AUTH_REQUIRED,
    }
)


def transcript(
    task: Task, earlier: Collection[str], user_id: str, conversation_id: str
) -> dict[str, Any]:
    """Return the latest turn of a task; ``earlier`` are the ids of artifacts of those before it."""
    asked = next((said for said in reversed(task.history) if said.role is Role.USER), None)
    made = [each for each in task.artifacts if each.artifact_id not in earlier]
    provider, model = _model((task.metadata or {}).get("model"))
    asked_provider, asked_model = _model(((asked and asked.metadata) or {}).get("model"))
    tools = [tool for tool in _items(made, TOOL_RESULTS) if isinstance(tool, dict)]
    return {
        "metadata": {
            "provider": provider,
            "model": model,
            "query_provider": asked_provider,
            "query_model": asked_model,
            "user_id": user_id,
            "conversation_id": conversation_id,
            "timestamp": task.status.timestamp,
        },
        "redacted_query": _query(asked),
        "query_is_valid": task.status.state is not TaskState.REJECTED,
        "llm_response": _response(task, made),
        "rag_chunks": [_chunk(each) for each in _items(made, CITATIONS) if isinstance(each, dict)],
        "truncated": False,
        "attachments": list(_attachments(asked)),
        "tool_calls": [_call(tool) for tool in tools],
        "tool_results": [_result(tool) for tool in tools],
    }


def _model(name: Json) -> tuple[str | None, str | None]:
    """Split ``provider/model``; a name without a provider is a model's."""
    if not isinstance(name, str):
        return None, None
    provider, slash, model = name.partition("/")
    return (provider, model) if slash else (None, name)


def _query(asked: Message | None) -> str:
    """Return what the user typed."""
    parts = [] if asked is None else asked.parts
    return "\n".join(part.text for part in parts if part.text is not None)


def _attachments(asked: Message | None) -> Iterator[dict[str, Any]]:
    for part in [] if asked is None else asked.parts:
        if part.text is not None:
            continue
        known = part.metadata or {}
        yield {
            "attachment_type": known.get("attachment_type") or part.filename or "file",
            "content_type": known.get("content_type") or part.media_type or _kind(part),
            "content": _content(part),
        }


def _kind(part: Part) -> str:
    return "application/octet-stream" if part.data is UNSET else "application/json"


def _content(part: Part) -> str:
    """Return data as JSON, the text of a file, any other as base64, and of one elsewhere where it is."""
    if part.data is not UNSET:
        return _written(part.data)
    return part.url or _text_of(part, part.raw or "")


def _text_of(part: Part, raw: str) -> str:
    """Return what a file says, if it is text."""
    (file,) = read_parts([part], file_bytes=len(raw))
    try:
        text = ((isinstance(file, FilePart) and file.data) or b"").decode()
    except UnicodeDecodeError:
        return raw
    return raw if "\0" in text else text


def _response(task: Task, made: Iterable[Artifact]) -> str:
    parts = [part for artifact in made if _is(artifact, ANSWER) for part in artifact.parts]
    said = "".join(_said(part) for part in parts)
    if not said and task.status.message is not None and task.status.state in _SPEAKS:
        said = "\n".join(part.text for part in task.status.message.parts if part.text is not None)
    return said


def _said(part: Part) -> str:
    if part.text is not None:
        return part.text
    data = None if part.data is UNSET else part.data
    # The form of an answer in words, for who takes no text.
    if isinstance(data, dict) and data.keys() == {"text"}:
        data = data["text"]
    return "" if data is None else _written(data)


def _items(made: Iterable[Artifact], name: str) -> Iterator[Json]:
    """Yield what the lists hold that a turn has left as data."""
    for artifact in made:
        if _is(artifact, name):
            for part in artifact.parts:
                listed = part.data.get(name) if isinstance(part.data, dict) else None
                yield from listed if isinstance(listed, list) else ()


def _is(artifact: Artifact, name: str) -> bool:
    """Whether an artifact has this name, which those of later turns of a task have with a number."""
    own, _, number = artifact.artifact_id.partition("-")
    return own == name and (not number or number.isdecimal())


def _chunk(citation: dict[str, Any]) -> dict[str, Any]:
    names = {"title": "title", "uri": "url", "document_id": "document_id"}
    return {
        "content": citation.get("text") or "",
        "source": None,
        "score": citation.get("score"),
        "attributes": {names[key]: citation[key] for key in names if citation.get(key)},
    }


def _call(tool: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": _call_id(tool),
        "name": tool.get("tool_name", ""),
        "args": _object(tool.get("arguments")),
        "type": tool.get("type", "tool_call"),
    }


def _result(tool: dict[str, Any]) -> dict[str, Any]:
    told = tool.get("result")
    detail = told if isinstance(told, dict) else {"result": told}
    return {
        "id": _call_id(tool),
        "status": "failure" if detail.get("failed") else "success",
        "content": _written(detail.get("result")),
        "type": tool.get("type", "tool_result"),
        "round": tool.get("round", 1),
    }


def _object(arguments: Json) -> dict[str, Any]:
    """Return arguments as an object: those that are none as one argument."""
    read = arguments
    if isinstance(arguments, str):
        try:
            read = json.loads(arguments)
        except (ValueError, RecursionError):
            read = arguments
    if isinstance(read, dict):
        return read
    return {"args": arguments} if arguments else {}


def _call_id(tool: dict[str, Any]) -> str:
    told = tool.get("result")
    return str(told.get("call_id", "")) if isinstance(told, dict) else ""


def _written(value: Json) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)
