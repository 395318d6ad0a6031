"""The events of a turn -> its steps, and what is told of them while it runs. No I/O.

A stack that keeps steps records each when it has ended, and says in advance how it is called. Those of
other stacks are made here: one inference for each tool call, and one for the answer. They come out the
same when they are made again from the log of the task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import stacks
from agent.agents.asked import calls_in
from agent.agents.open_steps import Inferring, Kept, Shielding, Tooling, call_id_of, call_in
from agent.agents.wire import (
    INFERENCE,
    SHIELD,
    TOOL,
    kept_step,
    response_of,
    said,
    step_id_of,
    step_of,
)
from agent.conversation_turns import shown
from agent.parts import write_parts
from agent.translation import ANSWER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agent.agents.base import Json

SEPARATOR = "\n\n"  # what a stack may put between the texts of two inferences


class StepBuilder:
    """One turn: ``hear`` its events in their order; ``steps`` are those that have ended."""

    def __init__(self, task_id: str, steps: Sequence[Json] = ()) -> None:
        """``steps`` are those from before the turn was resumed."""
        self._task_id = task_id
        self.steps: list[Json] = list(steps)
        self._before = len(self.steps)
        self._given: Mapping[str, Json] = {}
        self._calls: Sequence[Json] = ()
        self._inferring: Inferring | None = None
        self._kept: dict[str, Kept] = {}
        self._tools: dict[str, Tooling] = {}
        self._shield: Shielding | None = None
        self._texts: list[str] = []
        self._resumed_at = ""

    def resume(self, calls: Sequence[Json], results: Mapping[str, str], at: str) -> None:
        """Go on with the results of tool calls, by the ids of the calls."""
        self._before = len(self.steps)
        self._calls = [call for call in calls if call["call_id"] in results]
        self._given = {
            call["call_id"]: response_of(
                call["call_id"], call["tool_name"], results[call["call_id"]]
            )
            for call in self._calls
        }
        self._texts.clear()
        self._resumed_at = at

    def begin_again(self) -> None:
        """Forget what was heard since the turn began, or was resumed: its process died."""
        del self.steps[self._before :]
        self._inferring = self._shield = None
        self._kept.clear()
        self._tools.clear()
        self._texts.clear()

    def hear(self, event: stacks.TurnEvent, at: str) -> Iterator[Json]:
        """Take note of an event that came ``at`` a moment; yields payloads of chunks."""
        if self._given and not self._is_about_given(event):
            yield from self._tell_given(at)
        match event:
            case stacks.TextDelta(text, artifact_id):
                if artifact_id in (None, ANSWER):
                    yield from self._text(text, at)
            case stacks.StepStarted():
                yield from self._started(event, at)
            case stacks.StepEnded():
                yield from self._ended(event, at)
            case stacks.StepRecorded(step):
                yield from self._recorded(step)
            case _:
                yield from self._over(event, at)

    def _over(self, event: stacks.TurnEvent, at: str) -> Iterator[Json]:
        """Hear how the turn ends."""
        match event:
            case stacks.TurnCompleted(stop_reason, text):
                yield from self._complete(stop_reason, text, at)
            case stacks.DirectMessage(parts):
                yield from self._text(shown(write_parts(parts)), at)
                yield from self._complete("end_of_turn", None, at)
            case stacks.InputRequired(_, data):
                yield from self._ask(calls_in(data), at)
            case stacks.Rejected(text):
                yield from self._refuse(text, at)

    def _is_about_given(self, event: stacks.TurnEvent) -> bool:
        match event:
            case stacks.TurnStarted():
                return True
            case stacks.StepStarted() | stacks.StepEnded():
                return call_id_of(event) in self._given
            case stacks.StepRecorded(step):
                return any(r["call_id"] in self._given for r in step.get("tool_responses", ()))
        return False

    def _tell_given(self, at: str) -> Iterator[Json]:
        """Tell of results that the stack does not tell of: they came from the caller."""
        key = next(iter(self._given))
        fields = {"tool_calls": list(self._calls), "tool_responses": list(self._given.values())}
        self._given = {}
        made = step_id_of(self._task_id, TOOL, key)
        yield self._add(step_of(self._task_id, TOOL, made, (self._resumed_at, at), **fields))

    def _text(self, text: str, at: str) -> Iterator[Json]:
        # With steps that the stack keeps, the one that it is of has been told.
        if self._inferring is None and text and not self._kept:
            yield from self._infer(at)
        inferring = self._inferring
        if inferring is None or (text == SEPARATOR and self._texts and not inferring.texts):
            return
        inferring.texts.append(text)
        self._texts.append(text)
        yield inferring.progress({"type": "text", "text": text})

    def _infer(self, at: str, step_id: str = "") -> Iterator[Json]:
        made = step_id_of(self._task_id, INFERENCE, self._count(INFERENCE) + 1)
        self._inferring = Inferring(step_id or made, at)
        yield self._inferring.start()

    def _started(self, event: stacks.StepStarted, at: str) -> Iterator[Json]:
        if call_id_of(event) in self._given:
            return
        if event.step_id:
            yield from self._started_kept(event, at)
        elif event.kind == INFERENCE:
            if self._inferring is None:
                yield from self._infer(at)
        elif event.kind == SHIELD:
            yield from self._start_shield(at)
        elif call_id_of(event) is not None:
            yield from self._start_tool(event, at)

    def _started_kept(self, event: stacks.StepStarted, at: str) -> Iterator[Json]:
        if event.step_id not in self._kept:
            self._kept[event.step_id] = kept = Kept(event.kind, event.step_id)
            if event.kind == INFERENCE:
                yield from self._infer(at, event.step_id)
            else:
                yield kept.start({"touchpoint": self._touchpoint} if event.kind == SHIELD else {})
        if event.kind == TOOL:
            yield self._kept[event.step_id].running(call_in(event))

    def _start_shield(self, at: str) -> Iterator[Json]:
        # An inference that began for nothing but a shield has said nothing.
        yield from self._end_inference("end_of_turn", at)
        made = step_id_of(self._task_id, SHIELD, self._count(SHIELD) + 1)
        self._shield = Shielding(made, at)
        yield self._shield.start({"touchpoint": self._touchpoint})

    def _start_tool(self, event: stacks.StepStarted, at: str) -> Iterator[Json]:
        call = call_in(event)
        yield from self._end_inference("end_of_message", at, (call,))
        key = call["call_id"] or self._count(TOOL) + len(self._tools) + 1
        tooling = Tooling(step_id_of(self._task_id, TOOL, key), at, call)
        self._tools[call["call_id"]] = tooling
        yield tooling.start()
        yield tooling.running(call)

    def _ended(self, event: stacks.StepEnded, at: str) -> Iterator[Json]:
        detail = event.detail if isinstance(event.detail, dict) else {}
        if event.kind == SHIELD and self._shield is not None:
            violation = detail.get("violation")
            if isinstance(violation, dict) and violation.get("level") == "error":
                # What the user is told of it comes with the refusal.
                self._shield.violation = violation
            else:
                yield from self._end_shield(None, at)
        elif (tooling := self._tools.pop(call_id_of(event) or "", None)) is not None:
            call = tooling.call
            result = response_of(call["call_id"], call["tool_name"], detail.get("result", ""))
            fields = {"tool_calls": [call], "tool_responses": [result]}
            times = (tooling.started_at, at)
            yield self._add(step_of(self._task_id, TOOL, tooling.step_id, times, **fields))

    def _recorded(self, step: Json) -> Iterator[Json]:
        step = kept_step(self._task_id, step)
        self._kept.setdefault(step["step_id"], Kept(step["step_type"], step["step_id"]))
        if step["step_type"] == INFERENCE:
            for call in step["model_response"]["tool_calls"]:
                yield self._kept[step["step_id"]].called(call)
            self._inferring = None
        self._given = {}
        yield self._add(step)

    def _end_inference(
        self, stop_reason: str, at: str, calls: Sequence[Json] = ()
    ) -> Iterator[Json]:
        """End the inference that runs; one that calls what nobody has called so far is made."""
        known = self._called
        calls = [call for call in calls if call["call_id"] not in known]
        if calls and self._inferring is None:
            yield from self._infer(at)
        inferring = self._inferring
        if inferring is None or inferring.step_id in self._kept:
            return
        for call in calls:
            yield inferring.called(call)
        self._inferring = None
        told = {"model_response": said("".join(inferring.texts), stop_reason, calls)}
        times = (inferring.started_at, at)
        yield self._add(step_of(self._task_id, INFERENCE, inferring.step_id, times, **told))

    def _end_shield(self, violation: Json, at: str) -> Iterator[Json]:
        if (shield := self._shield) is not None:
            self._shield = None
            times, found = (shield.started_at, at), {"violation": violation}
            yield self._add(step_of(self._task_id, SHIELD, shield.step_id, times, **found))

    def _complete(self, stop_reason: str, text: str | None, at: str) -> Iterator[Json]:
        if self._kept:
            return
        if self._inferring is None and (text or not self._has_answered):
            yield from self._infer(at)
        if self._inferring is not None and text is not None:
            self._correct(self._inferring, text)
        yield from self._end_inference(stop_reason, at)

    def _correct(self, inferring: Inferring, whole: str) -> None:
        """Have the last text be what the stack says in the end that it is."""
        earlier = "".join(self._texts)[: -len("".join(inferring.texts)) or None]
        if "".join(self._texts) != whole:
            inferring.texts[:] = [whole.removeprefix(earlier)]

    def _ask(self, calls: Sequence[Json], at: str) -> Iterator[Json]:
        yield from self._end_inference("end_of_message", at, calls)

    def _refuse(self, text: str, at: str) -> Iterator[Json]:
        if any(step.get("violation") for step in self.steps[self._before :]):
            return
        if self._shield is None:
            yield from self._start_shield(at)
        about = self._shield.violation if self._shield is not None else {}
        violation = {
            "violation_level": "error",
            "user_message": text,
            "metadata": {"violation_type": about["type"]} if about.get("type") else {},
        }
        yield from self._end_shield(violation, at)

    def _add(self, step: Json) -> Json:
        self.steps.append(step)
        return {
            "event_type": "step_complete",
            "step_type": step["step_type"],
            "step_id": step["step_id"],
            "step_details": step,
        }

    @property
    def _called(self) -> set[str]:
        responses = (step.get("model_response", {}) for step in self.steps)
        return {call["call_id"] for each in responses for call in each.get("tool_calls", ())}

    @property
    def _touchpoint(self) -> str:
        said_before = any(s["step_type"] == INFERENCE for s in self.steps[self._before :])
        return "assistant-output" if said_before or self._inferring else "user-input"

    @property
    def _has_answered(self) -> bool:
        its = (step.get("model_response") for step in self.steps[self._before :])
        return any(message and not message["tool_calls"] for message in its)

    def _count(self, kind: str) -> int:
        return sum(step["step_type"] == kind for step in self.steps)
