"""What is read of a Responses API response: its shape, and what its items mean to us.

No I/O. Fields that are not named here are ignored, so that later servers may add some.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from agent.errors import InvalidAgentResponse, TurnFailed
from agent.stacks.client import Reported, meaning
from agent.stacks.turn import Failed, InputRequired, Json, TurnCompleted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.errors import StackError

_CUT_OFF = ("length", "max_output_tokens")
_STATUS_OF_CODE = {"invalid_prompt": 400, "rate_limit_exceeded": 429}
_STATUS_IN_TEXT = re.compile(r"(\d{3}): ")

_SAID: tuple[tuple[str, str], ...] = (
    ("No shield found", "Llama Stack does not know a shield of this agent."),
    # after a refusal, 0.3.5 to 0.7.3 read the conversation back in a form that shields do not take
    (
        "Unsupported content type: <class 'list'>",
        "Llama Stack cannot apply its shields to this conversation; start a new one.",
    ),
    ("connect to MCP server", "Llama Stack cannot reach an MCP server of this agent."),
)


class OutputItem(msgspec.Struct):
    """One item of a response's output; which fields are set depends on ``type``."""

    type: str
    id: str | None = None
    status: str | None = None
    call_id: str | None = None
    name: str = ""
    server_label: str | None = None
    arguments: str = ""
    output: Json = None
    error: Json = None
    content: Json = None
    summary: Json = None
    queries: Json = None
    results: Json = None
    tools: Json = None


class Tokens(msgspec.Struct):
    """Tokens of the whole response."""

    input_tokens: int = 0
    output_tokens: int = 0


class Conversation(msgspec.Struct):
    """What is read of a conversation."""

    id: str


class Response(msgspec.Struct):
    """A response; ``status`` is in_progress, completed, incomplete, failed or cancelled."""

    id: str
    status: str | None = None
    output: list[OutputItem] = []
    usage: Tokens | None = None
    error: Json = None
    incomplete_details: Json = None


def decode[T](value: Json, kind: type[T]) -> T:
    """Read a decoded JSON value as ``kind``; raises ``InvalidAgentResponse``."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        raise InvalidAgentResponse from exc


def reported(error: Json) -> StackError:
    """Say in our words what an error object of a response or of a stream means."""
    said = error if isinstance(error, dict) else {}
    text, code = str(said.get("message", "")), str(said.get("code", ""))
    for theirs, ours in _SAID:
        if theirs in text:
            found = TurnFailed(ours)
            found.__cause__ = Reported(text)
            return found
    if prefix := _STATUS_IN_TEXT.match(text):  # 0.3.5 has no code, but "404: ..."
        code = prefix[1]
    status = int(code) if code.isdecimal() else _STATUS_OF_CODE.get(code, 500)
    return meaning(min(status, 500), text)  # 502 to 504 are of what is behind a stack that answers


def answer_of(response: Response) -> str | None:
    """Give the whole text of the answer; ``None`` when the response holds no message."""
    messages = [item for item in response.output if item.type == "message"]
    if not messages:
        return None
    return "".join(
        str(part.get("text", ""))
        for item in messages
        for part in parts_of(item)
        if part.get("type") == "output_text"
    )


def refusal_of(response: Response) -> str:
    """Give the text with which a model or a shield refused to answer; empty when none did."""
    return "".join(
        str(part.get("refusal", ""))
        for item in response.output
        for part in parts_of(item)
        if part.get("type") == "refusal"
    )


def question_of(
    response: Response, asks: Callable[[OutputItem], bool] = lambda _: True
) -> InputRequired | None:
    """Give what the response waits for: results of tool calls, approvals, or both.

    Approval requests that ``asks`` says no to are left out.
    """
    calls = [_call(item) for item in response.output if item.type == "function_call"]
    approvals = [
        _call(item) | {"server_label": item.server_label}
        for item in response.output
        if item.type == "mcp_approval_request" and asks(item)
    ]
    if not calls and not approvals:
        return None
    data: dict[str, Json] = {"type": "tool_calls" if calls else "approvals"}
    asked = []
    if calls:
        data["tool_calls"] = calls
        asked.append(f"The agent waits for the result of: {_names(calls)}.")
    if approvals:
        data["approvals"] = approvals
        asked.append(f"The agent waits for approval to call: {_names(approvals)}.")
    return InputRequired(answer_of(response) or " ".join(asked), data)


def waits_for(item: OutputItem) -> str | None:
    """Give the id under which an item waits for an answer; ``None`` when it waits for nothing."""
    match item.type:
        case "function_call":
            return item.call_id
        case "mcp_approval_request":
            return item.id
    return None


def _call(item: OutputItem) -> dict[str, Json]:
    return {
        "call_id": waits_for(item),
        "tool_name": item.name,
        "arguments": parsed(item.arguments),
    }


def _names(calls: list[dict[str, Json]]) -> str:
    return ", ".join(dict.fromkeys(str(call["tool_name"]) for call in calls))


def incomplete(response: Response) -> TurnCompleted | Failed:
    """Tell how a response ended that is not complete: with half an answer, or with none."""
    details = response.incomplete_details
    reason = details.get("reason") if isinstance(details, dict) else None
    text = answer_of(response)
    if reason is None:  # 0.3.5 gives none: only an answer can have been cut off
        reason = "length" if text else "max_iterations_exceeded"
    if text:
        return TurnCompleted("out_of_tokens" if reason in _CUT_OFF else "max_infer_iters", text)
    if reason in _CUT_OFF:
        return Failed("The agent stopped at its limit of tokens without an answer.")
    return Failed("The agent stopped at its limit of steps without an answer.")


def parts_of(item: OutputItem) -> Iterator[dict[str, Json]]:
    """Give the content parts of a message; none for items of another type."""
    if item.type == "message":
        yield from objects(item.content)


def objects(value: Json) -> Iterator[dict[str, Json]]:
    """Give the JSON objects of a list; nothing when ``value`` is no list."""
    if isinstance(value, list):
        yield from (each for each in value if isinstance(each, dict))


def parsed(arguments: str) -> Json:
    """Arguments as the model meant them; its text where that is not JSON."""
    try:
        return msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        return arguments
