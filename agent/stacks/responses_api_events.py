"""Turns the events of one Responses stream into turn events.

No I/O. Made for what Llama Stack 0.3.5 to 0.7.3 and OGX 1.5 send; events of a type that is not
known here are ignored.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from agent.errors import InvalidAgentResponse, TurnFailed
from agent.stacks.responses_api_steps import (
    asked,
    citation_of_annotation,
    citation_of_result,
    outcome,
)
from agent.stacks.responses_api_wire import (
    OutputItem,
    Response,
    answer_of,
    decode,
    incomplete,
    objects,
    parts_of,
    question_of,
    refusal_of,
    reported,
)
from agent.stacks.turn import (
    Json,
    Rejected,
    StepEnded,
    StepStarted,
    TextDelta,
    TurnCompleted,
    TurnStarted,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.stacks.turn import Citation, TurnEvent

_log = logging.getLogger(__name__)

_CITATIONS = 100  # of one turn
_AT_TOOL_SERVER = ("response.mcp_list_tools.in_progress", "response.mcp_call.in_progress")
_FINAL = ("response.completed", "response.incomplete", "response.failed")

# What an output item is to the caller: the kind of a step, and its name when the item has none.
_STEPS = {
    "mcp_call": ("tool_execution", ""),
    "mcp_list_tools": ("tool_listing", ""),
    "web_search_call": ("tool_execution", "web_search"),
    "file_search_call": ("memory_retrieval", "file_search"),
    "reasoning": ("inference", "reasoning"),
}


class Translation:
    """The translation of one stream: ``read`` every event, then ``end``.

    ``asks`` tells whether the caller is to approve the call of an approval request; ``model`` is what
    answers, as ``provider/model``.
    """

    def __init__(
        self, asks: Callable[[OutputItem], bool] = lambda _: True, model: str | None = None
    ) -> None:
        self._asks = asks
        self._model = model
        self._last_kind = ""
        self._turn_id: str | None = None
        self._heard = False
        self._refusal: list[str] = []
        self._arguments: dict[str, str] = {}
        self._started: set[str] = set()
        self._ended: set[str] = set()
        self._cited: set[str] = set()
        self._final: Response | None = None

    @property
    def finished(self) -> bool:
        """Whether the event that ends a response was read."""
        return self._final is not None

    @property
    def at_tool_server(self) -> bool:
        """Whether the server was busy with an MCP server when the last event came."""
        return self._last_kind in _AT_TOOL_SERVER

    @property
    def to_approve(self) -> Response | None:
        """The response, when all that it waits for is approval that the caller need not give."""
        final = self._final
        waits = final is not None and question_of(final) and not question_of(final, self._asks)
        return final if waits else None

    def read(self, wire: Json) -> Iterator[TurnEvent]:
        """Give what one event means; raises ``StackError`` when it reports a failure."""
        if not isinstance(wire, dict):
            raise InvalidAgentResponse
        kind = wire.get("type")
        self._last_kind = str(kind) if kind and kind != "error" else self._last_kind
        if kind == "error" or (kind is None and "error" in wire):
            raise reported(wire if kind else wire["error"])
        if kind in _FINAL:
            self._final = decode(wire.get("response"), Response)
        elif kind in ("response.created", "response.in_progress"):
            yield from self._begin(decode(wire.get("response"), Response))
        elif kind in ("response.output_item.added", "response.output_item.done"):
            item = decode(wire.get("item"), OutputItem)
            yield from self._announce(item) if kind.endswith("added") else self._finish(item)
        else:
            yield from self._read_piece(kind, wire)

    def _read_piece(self, kind: Json, wire: dict[str, Json]) -> Iterator[TurnEvent]:
        match kind:
            case "response.output_text.delta":
                yield from self._text(decode(wire.get("delta"), str))
            case "response.refusal.delta":
                self._refusal.append(decode(wire.get("delta"), str))
            case "response.mcp_call.arguments.done":
                # Llama Stack says this before it announces the call, which then comes without them
                self._arguments[str(wire.get("item_id"))] = decode(wire.get("arguments"), str)
            case "response.output_text.annotation.added":
                annotation = decode(wire.get("annotation"), dict[str, Json])
                yield from self._cite(citation_of_annotation(annotation))

    def end(self) -> Iterator[TurnEvent]:
        """Give what the last event means, once nothing more comes; raises ``StackError``."""
        response = self._final
        if response is None:
            raise TurnFailed("The stack broke off the answer.")
        yield from self._begin(response)
        if response.status == "failed":
            raise reported(response.error)
        for item in response.output:
            yield from self._finish(item)
        if response.usage:
            yield Usage(response.usage.input_tokens, response.usage.output_tokens)
        yield from self._outcome(response)

    def _outcome(self, response: Response) -> Iterator[TurnEvent]:
        """Give the event that ends the turn; none when it goes on with what is ``to_approve``."""
        if refusal := refusal_of(response) or "".join(self._refusal):
            yield Rejected(refusal)
        elif response.status == "incomplete":
            yield incomplete(response)
        elif question := question_of(response, self._asks):
            yield question
        elif self.to_approve is None:
            yield from self._complete(response)

    def _complete(self, response: Response) -> Iterator[TurnEvent]:
        text = answer_of(response)
        if text is None and not self._heard:
            text = ""  # nothing was said, as after a call that was not approved
        yield TurnCompleted("end_of_turn", text)

    def _begin(self, response: Response) -> Iterator[TurnEvent]:
        if self._turn_id is None:
            self._turn_id = response.id
            yield TurnStarted(response.id, self._model)

    def _text(self, delta: str) -> Iterator[TurnEvent]:
        if delta:
            self._heard = True
            yield TextDelta(delta)

    def _announce(self, item: OutputItem) -> Iterator[TurnEvent]:
        if (
            item.type != "file_search_call" or item.queries
        ):  # else what is looked for is not known yet
            yield from self._start(item)

    def _start(self, item: OutputItem) -> Iterator[TurnEvent]:
        key = item.id or ""
        if item.type not in _STEPS or key in self._started:
            return
        self._started.add(key)
        item.arguments = item.arguments or self._arguments.pop(key, "")
        yield StepStarted(*_step(item), asked(item))

    def _finish(self, item: OutputItem) -> Iterator[TurnEvent]:
        for part in parts_of(item):
            for annotation in objects(part.get("annotations")):
                yield from self._cite(citation_of_annotation(annotation))
        key = item.id or ""
        if item.type not in _STEPS or key in self._ended:
            return
        yield from self._start(item)
        self._ended.add(key)
        yield StepEnded(*_step(item), outcome(item))
        for result in objects(item.results):
            yield from self._cite(citation_of_result(result))

    def _cite(self, citation: Citation) -> Iterator[TurnEvent]:
        # an annotation names, without its text, a file that the search before it has found
        key = citation.uri or citation.document_id or citation.title
        repeated = citation.text is None and key in self._cited
        if not repeated and len(self._cited) < _CITATIONS:
            self._cited.add(key)
            yield citation


def _step(item: OutputItem) -> tuple[str, str]:
    """Give the kind of a step and its name: that of the tool, or of the server whose tools are listed."""
    kind, name = _STEPS[item.type]
    return kind, name or item.name or (item.server_label or "")
