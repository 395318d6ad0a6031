"""From the stream of a turn of Llama Stack's agents API to turn events: no I/O."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from agent.errors import StackError, StackUnavailable, TurnFailed
from agent.stacks.agents_api_wire import (
    Chunk,
    Message,
    Payload,
    StepDetails,
    ToolCall,
    ToolResponse,
    Turn,
    arguments,
    files_of,
    read,
    text_of,
)
from agent.stacks.client import meaning
from agent.stacks.turn import (
    ArtifactPart,
    Citation,
    Failed,
    InputRequired,
    Json,
    Rejected,
    StepEnded,
    StepStarted,
    TextDelta,
    TurnCompleted,
    TurnEvent,
    TurnStarted,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_SHOWN = 4096  # characters of a tool's arguments, of its result and of a citation that are shown
_CITATIONS = 100  # of one search
_TYPES = {
    "knowledge_search": "file_search_call",
    "web_search": "web_search_call",
    "brave_search": "web_search_call",  # as the builtin group's tool is called
}
_STATUS = re.compile(r"(\d{3}): ")
_FILENAME = re.compile(r"'document_id': '([^'\n]+)'[^\n]*'filename': '([^'\n]+)'")


class TurnReader:
    """Reads the chunks of one turn in their order; ``ended`` tells whether the last one was seen.

    ``client_tools`` are the names of the tools that the caller runs: waiting for any other tool
    means that the agent used up its ``max_infer_iters``. ``model`` answers, as ``provider/model``.
    """

    def __init__(
        self, client_tools: Collection[str], max_infer_iters: int, model: str | None = None
    ) -> None:
        """Start without a turn id: the server tells it with the first step that ends."""
        self._model = model
        self._client_tools = client_tools
        self._max_infer_iters = max_infer_iters
        self._turn_id: str | None = None
        self._running: set[str] = set()  # tool calls that were announced
        self._refusal: str | None = None
        self.ended = False
        self.at_tool = False
        """Whether tools were running when the last event came."""

    def read(self, wire: Json) -> Iterator[TurnEvent]:
        """Yield what one chunk means; raises ``StackError`` for an error chunk."""
        chunk = read(wire, Chunk)
        if chunk.error is not None:
            raise error_of(chunk.error)
        if chunk.event is None:
            return
        payload = chunk.event.payload
        runs = payload.event_type in ("step_start", "step_progress")
        self.at_tool = runs and payload.step_type == "tool_execution"
        match payload.event_type:
            case "step_start":
                yield from _step_started(payload)
            case "step_progress":
                yield from self._progress(payload)
            case "step_complete":
                yield from self._step_ended(payload)
            case "turn_complete" | "turn_awaiting_input":
                yield from self._turn_ended(payload)

    def _started(self, turn_id: str | None) -> Iterator[TurnEvent]:
        if turn_id and self._turn_id is None:
            self._turn_id = turn_id
            yield TurnStarted(turn_id, self._model)

    def _progress(self, payload: Payload) -> Iterator[TurnEvent]:
        delta = payload.delta
        if delta is None:
            return
        if delta.type == "text":
            if delta.text:
                yield TextDelta(delta.text)
        elif payload.step_type == "tool_execution" and isinstance(delta.tool_call, dict):
            # the fragments in which the model writes a call belong to the inference step
            yield from self._tool_started(read(delta.tool_call, ToolCall))

    def _tool_started(self, call: ToolCall) -> Iterator[TurnEvent]:
        if call.call_id not in self._running:
            self._running.add(call.call_id)
            detail = {
                "call_id": call.call_id,
                "arguments": bounded(arguments(call)),
                "type": self._type(call.tool_name),
            }
            yield StepStarted("tool_execution", call.tool_name, detail)

    def _type(self, tool: str) -> str:
        """Return what the Responses API would call a call of the tool."""
        return "function_call" if tool in self._client_tools else _TYPES.get(tool, "mcp_call")

    def _step_ended(self, payload: Payload) -> Iterator[TurnEvent]:
        details = payload.step_details or StepDetails()
        yield from self._started(details.turn_id)
        match payload.step_type:
            case "tool_execution":
                yield from self._tools_ended(details)
            case "shield_call":
                yield self._shield_ended(details)
            case "inference":
                message = details.model_response or Message()
                yield StepEnded("inference", detail={"stop_reason": message.stop_reason})
            case kind:
                yield StepEnded(kind)

    def _tools_ended(self, details: StepDetails) -> Iterator[TurnEvent]:
        """End every call of the step; a resumed turn has this event without a start."""
        calls = {call.call_id: call for call in details.tool_calls or ()}
        for response in details.tool_responses or ():
            call = calls.pop(response.call_id, None)
            yield from self._tool_started(call or ToolCall(response.call_id, response.tool_name))
            result = {"call_id": response.call_id, "result": bounded(text_of(response.content))}
            yield StepEnded("tool_execution", response.tool_name, result)
            yield from citations(response)

    def _shield_ended(self, details: StepDetails) -> StepEnded:
        violation = details.violation
        if violation is None:
            return StepEnded("shield_call", detail={"violation": None})
        if violation.violation_level == "error":
            self._refusal = violation.user_message or "The agent may not answer this."
        shown = {
            "level": violation.violation_level,
            "type": (violation.metadata or {}).get("violation_type"),
        }
        return StepEnded("shield_call", detail={"violation": bounded(shown)})

    def _turn_ended(self, payload: Payload) -> Iterator[TurnEvent]:
        self.ended = True
        turn = payload.turn
        if turn is None:
            raise TurnFailed("Llama Stack ended the turn without telling what came of it.")
        yield from self._started(turn.turn_id)
        if self._refusal is not None:
            yield Rejected(self._refusal)
            return
        yield from _artifacts(turn)
        message = turn.output_message
        if payload.event_type == "turn_awaiting_input" and message.stop_reason != "out_of_tokens":
            yield self._waiting(message)
        else:
            yield completed(message)

    def _waiting(self, message: Message) -> TurnEvent:
        calls = [call for call in message.tool_calls or () if call.tool_name in self._client_tools]
        if not calls:
            return Failed(
                f"The agent stopped after {self._max_infer_iters} steps without an answer."
            )
        asked = [
            {
                "call_id": call.call_id,
                "tool_name": call.tool_name,
                "arguments": arguments(call),
            }
            for call in calls
        ]
        names = ", ".join(call.tool_name for call in calls)
        return InputRequired(
            f"The agent waits for the result of: {names}.",
            {"type": "tool_calls", "tool_calls": asked},
        )


def error_of(error: Json) -> StackError:
    """Say what an error chunk means; its text begins with an HTTP status."""
    said = error.get("message") if isinstance(error, dict) else error
    said = said if isinstance(said, str) else ""
    status = _STATUS.match(said)
    found = meaning(int(status[1]) if status else 500, said)
    # Who says so can be reached: what cannot, or refuses, is the model behind it.
    return meaning(500, said) if type(found) is StackUnavailable else found


def completed(message: Message) -> TurnCompleted:
    """Read the end of a turn from the agent's last message."""
    text = text_of(message.content)
    return TurnCompleted(message.stop_reason or "end_of_turn", text or None)


def citations(response: ToolResponse) -> Iterator[Citation]:
    """Yield what a search found: ids, chunks and scores lie side by side in ``metadata``."""
    found = response.metadata or {}
    chunks, scores = found.get("chunks"), found.get("scores")
    document_ids = found.get("document_ids")
    if not isinstance(document_ids, list):
        return
    # only the text that is meant for the model knows the names of the files
    names = dict(_FILENAME.findall(text_of(response.content)))
    for index, document_id in enumerate(document_ids[:_CITATIONS]):
        chunk, score = _nth(chunks, index), _nth(scores, index)
        yield Citation(
            title=names.get(str(document_id), str(document_id)),
            text=chunk[:_SHOWN] if isinstance(chunk, str) else None,
            document_id=str(document_id),
            score=float(score) if isinstance(score, int | float) else None,
        )


def bounded(value: Json) -> Json:
    """Return the value, or the beginning of its text when it is too large to be shown."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return value if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _nth(values: Json, index: int) -> Json:
    return values[index] if isinstance(values, list) and index < len(values) else None


def _step_started(payload: Payload) -> Iterator[StepStarted]:
    """Announce a step; one of a tool is announced when the tool is known."""
    if payload.step_type != "tool_execution":
        yield StepStarted(payload.step_type, detail=payload.metadata or None)


def _artifacts(turn: Turn) -> Iterator[ArtifactPart]:
    """Yield the files of the answer: what it has attached, and the images within its message."""
    made = [("", files_of(turn.output_message.content, "image/png", texts=False))]
    for number, attachment in enumerate(turn.output_attachments or (), start=1):
        files = files_of(attachment.content, attachment.mime_type, texts=True)
        made.append((f"-{number}", files))
    for suffix, files in made:
        if files:
            yield ArtifactPart(tuple(files), artifact_id=f"{turn.turn_id}-files{suffix}")
