"""The agent loop: ask the model, run the tools that it calls, ask again until it has answered."""

from __future__ import annotations

import uuid
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from agent.stacks.embedded import steps as step
from agent.stacks.embedded.messages import ModelMessage, ToolCall, ToolMessage
from agent.stacks.embedded.model import Stop
from agent.stacks.embedded.tool_events import ended, readable, started
from agent.stacks.mcp_access import CredentialsNeeded
from agent.stacks.turn import (
    AuthRequired,
    Citation,
    Failed,
    InputRequired,
    Json,
    StepEnded,
    StepRecorded,
    StepStarted,
    TextDelta,
    TurnCompleted,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Sequence

    from agent.stacks.embedded.messages import Message
    from agent.stacks.embedded.model import LanguageModel, Prompt
    from agent.stacks.embedded.tools import Toolbox
    from agent.stacks.turn import TurnEvent

MAX_INFER_ITERS = 10
"""How often the model is asked in a turn where the agent says nothing."""


class AgentLoop:
    """One turn. ``steps`` grows while it runs; a turn that is resumed begins with those it has."""

    def __init__(
        self,
        model: LanguageModel,
        prompt: Prompt,
        toolbox: Toolbox,
        *,
        turn_id: str,
        steps: list[Json],
        approved: Collection[str] = (),
        max_infer_iters: int = MAX_INFER_ITERS,
    ) -> None:
        """``prompt`` holds what was said before the steps of this turn, the user's message last.

        ``approved`` are the ids of the calls that the caller has approved.
        """
        self._model = model
        self._prompt = prompt
        self._toolbox = toolbox
        self._turn_id = turn_id
        self._max_infer_iters = max_infer_iters
        self._approved = frozenset(approved)
        self._resumed_at = len(steps)
        self._said = False
        self.steps = steps

    async def run(self) -> AsyncGenerator[TurnEvent]:
        """Yield what happens; the last event is that the turn is over, or waits for the caller."""
        while True:
            calls = step.unanswered(self.steps)
            if calls:
                event: TurnEvent | None = None
                async with aclosing(self._run_tools(calls)) as events:
                    async for event in events:
                        yield event
                if isinstance(event, AuthRequired | InputRequired):
                    return
            asked = step.inferences(self.steps)
            if asked >= self._max_infer_iters:
                yield Failed(f"The agent stopped after {asked} steps without an answer.")
                return
            async with aclosing(self._infer(asked)) as events:
                async for event in events:
                    yield event
            said = self.steps[-1]["model_response"]
            if not said["tool_calls"]:
                text = step.text_of(self.steps[self._resumed_at :])
                yield TurnCompleted(said["stop_reason"], text)
                return

    async def _infer(self, asked: int) -> AsyncGenerator[TurnEvent]:
        begun = step.begin(self._turn_id)
        texts: list[str] = []
        calls: list[ToolCall] = []
        stop_reason = "end_of_turn"
        yield StepStarted("inference", step_id=begun.step_id)
        async with aclosing(self._model.infer(self._next_prompt(asked))) as pieces:
            async for piece in pieces:
                match piece:
                    case TextDelta():
                        if self._said and not texts:
                            yield TextDelta(step.SEPARATOR)
                        texts.append(piece.text)
                        yield piece
                    case ToolCall():
                        calls.append(self._named(piece, calls))
                    case Citation() | Usage():
                        yield piece
                    case Stop(stop_reason):
                        pass
        self._said = self._said or bool(texts)
        message = ModelMessage("".join(texts), tuple(calls), stop_reason)
        self.steps.append(step.inference(begun, message))
        yield StepEnded("inference", detail={"stop_reason": stop_reason})
        yield StepRecorded(self.steps[-1])

    def _named(self, call: ToolCall, calls: Sequence[ToolCall]) -> ToolCall:
        """Give a call another id when the model has used its id before, as some count from 0."""
        taken = {each.call_id for each in (*step.calls_of(self.steps), *calls)}
        if call.call_id and call.call_id not in taken:
            return call
        return msgspec.structs.replace(call, call_id=f"call_{uuid.uuid4().hex}")

    def _next_prompt(self, asked: int) -> Prompt:
        """Add what was said since; the last time that the model is asked it has to answer.

        Only the first time it may have to call a tool: else it would call tools for ever.
        """
        messages: list[Message] = [*self._prompt.messages, *step.messages_of(self.steps)]
        choice = self._prompt.tool_choice
        return msgspec.structs.replace(
            self._prompt,
            messages=tuple(messages),
            tool_choice=choice if asked == 0 or choice == "none" else "auto",
            may_call=asked == 0 or asked + 1 < self._max_infer_iters,
        )

    def _asks(self, call: ToolCall) -> bool:
        """Whether a call waits for the caller."""
        return self._toolbox.is_client(call) or self._wants_approval(call)

    def _wants_approval(self, call: ToolCall) -> bool:
        return call.call_id not in self._approved and self._toolbox.wants_approval(call)

    async def _run_tools(self, calls: Sequence[ToolCall]) -> AsyncGenerator[TurnEvent]:
        """Run the tools of this side, as one step; the last event says when the turn has to wait then."""
        begun = step.begin(self._turn_id)
        ran: list[ToolCall] = []
        results: list[ToolMessage] = []
        refused: CredentialsNeeded | None = None
        for call in calls:
            if self._asks(call):
                continue
            yield started(call, self._toolbox.about(call), begun.step_id)
            try:
                result = await self._toolbox.run(call)
            except CredentialsNeeded as exc:
                refused = exc
                continue
            message = ToolMessage(call.call_id, call.tool_name, result.content)
            ran.append(call)
            results.append(message)
            yield ended(call, result.content, failed=result.failed)
            for citation in result.citations:
                yield citation
        if ran:
            self.steps.append(step.tool_execution(begun, ran, results))
            yield StepRecorded(self.steps[-1])
        if refused is not None:
            yield refused.event
        elif waiting := step.unanswered(self.steps):
            yield self._question(waiting)

    def _question(self, calls: Sequence[ToolCall]) -> InputRequired:
        """Ask for results of the caller's tools and for approval of ours, with their arguments."""
        clients = [call for call in calls if self._toolbox.is_client(call)]
        approvals = [call for call in calls if call not in clients]
        data: dict[str, Json] = {"type": "tool_calls" if clients else "approvals"}
        asked = []
        if clients:
            data["tool_calls"] = [_asked(call) for call in clients]
            asked.append(f"The agent waits for the result of: {_names(clients)}.")
        if approvals:
            data["approvals"] = [
                _asked(call) | {"server_label": self._toolbox.server_of(call)} for call in approvals
            ]
            asked.append(f"The agent waits for approval to call: {_names(approvals)}.")
        return InputRequired(" ".join(asked), data)


def _asked(call: ToolCall) -> dict[str, Json]:
    return {"call_id": call.call_id, "tool_name": call.tool_name, "arguments": readable(call)}


def _names(calls: Sequence[ToolCall]) -> str:
    return ", ".join(call.tool_name for call in calls)
