"""Shields: guard models, such as Llama Guard, on the model server; a shield's id is its model.

A guard reads the conversation and says ``safe``, or ``unsafe`` and on the next line why.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from agent.errors import InvalidAgentResponse, TurnFailed
from agent.stacks.embedded import steps as step
from agent.stacks.embedded.messages import ModelMessage, UserMessage
from agent.stacks.embedded.model import Prompt
from agent.stacks.turn import (
    AuthRequired,
    Failed,
    InputRequired,
    Rejected,
    Sampling,
    StepEnded,
    StepRecorded,
    StepStarted,
    TextDelta,
    TurnCompleted,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from agent.stacks.embedded.messages import Message
    from agent.stacks.embedded.model import LanguageModel
    from agent.stacks.turn import Json, TurnEvent

USER_INPUT, ASSISTANT_OUTPUT = "user-input", "assistant-output"
"""What a shield checks, as Llama Stack has it."""

REFUSAL = "I can't answer that. Can I help with something else?"


class Shields:
    """The shields of one turn; ``guard`` serves their models, None when no server is configured."""

    def __init__(
        self, guard: LanguageModel | None, message: UserMessage, turn_id: str, steps: list[Json]
    ) -> None:
        """Check nothing yet; ``steps`` get the verdicts."""
        self._guard = guard
        self._message = message
        self._turn_id = turn_id
        self._steps = steps

    async def around(
        self, before: Sequence[str], work: AsyncGenerator[TurnEvent], after: Sequence[str]
    ) -> AsyncGenerator[TurnEvent]:
        """Do the work if what the user says passes, and let what comes of it out if it passes."""
        async with aclosing(work):
            async with aclosing(self.before(before)) as checks:
                async for event in checks:
                    yield event
                    if isinstance(event, Rejected):
                        return
            async with aclosing(self.after(after, work) if after else work) as events:
                async for event in events:
                    yield event

    async def before(self, shields: Sequence[str]) -> AsyncGenerator[TurnEvent]:
        """Check what the user says; ``Rejected`` is the last event when it is refused."""
        message = UserMessage(self._message.text, self._message.attachments)
        async with aclosing(self._check(shields, USER_INPUT, (message,))) as events:
            async for event in events:
                yield event

    async def after(
        self, shields: Sequence[str], events: AsyncGenerator[TurnEvent]
    ) -> AsyncGenerator[TurnEvent]:
        """Hold the text of an answer back until it is complete and checked, and the steps that hold it.

        What does not pass, or was not checked in the end, is taken out of its steps.
        """
        held: list[TextDelta | StepRecorded] = []
        before = len(self._steps)
        try:
            async for event in events:
                if isinstance(event, TextDelta) or (held and isinstance(event, StepRecorded)):
                    held.append(event)
                    continue
                if held and isinstance(
                    event, TurnCompleted | InputRequired | AuthRequired | Failed
                ):
                    checks = [] if isinstance(event, Failed) else await self._checks(shields, held)
                    refused = bool(checks) and isinstance(checks[-1], Rejected)
                    if refused or not checks:
                        self._withhold(before)
                        held = [each for each in held if isinstance(each, StepRecorded)]
                    released, held = held, []
                    for each in (*released, *checks):
                        yield each
                    if refused:
                        return
                yield event
        finally:
            if held:
                self._withhold(before)

    def _withhold(self, before: int) -> None:
        """Take the text out of the steps since."""
        for each in self._steps[before:]:
            step.withhold(each)

    async def _checks(
        self, shields: Sequence[str], held: Sequence[TextDelta | StepRecorded]
    ) -> list[TurnEvent]:
        """Check what was held back; the last event is ``Rejected`` when it is refused."""
        text = "".join(event.text for event in held if isinstance(event, TextDelta))
        messages = (UserMessage(self._message.text), ModelMessage(text))
        async with aclosing(self._check(shields, ASSISTANT_OUTPUT, messages)) as events:
            return [event async for event in events]

    async def _check(
        self, shields: Sequence[str], touchpoint: str, messages: tuple[Message, ...]
    ) -> AsyncGenerator[TurnEvent]:
        for shield in shields:
            begun = step.begin(self._turn_id)
            yield StepStarted("shield_call", shield, {"touchpoint": touchpoint}, begun.step_id)
            violation = await self._violation(shield, messages)
            self._steps.append(step.shield_call(begun, violation))
            shown = violation and {
                "level": "error",
                "type": violation["metadata"]["violation_type"],
            }
            yield StepEnded("shield_call", shield, {"violation": shown})
            yield StepRecorded(self._steps[-1])
            if violation:
                yield Rejected(REFUSAL)
                return

    async def _violation(self, shield: str, messages: tuple[Message, ...]) -> Json:
        """Ask the guard; raises ``StackError`` when it gives no verdict."""
        if self._guard is None:
            raise TurnFailed(f"The shield {shield} needs a model server, and none is configured.")
        prompt = Prompt(model=shield, messages=messages, sampling=Sampling(temperature=0))
        async with aclosing(self._guard.infer(prompt)) as pieces:
            said = "".join([piece.text async for piece in pieces if isinstance(piece, TextDelta)])
        verdict, _, reason = said.strip().partition("\n")
        if verdict == "safe":
            return None
        if verdict != "unsafe":
            raise InvalidAgentResponse(f"The shield {shield} gave no verdict.")
        return {
            "violation_level": "error",
            "user_message": REFUSAL,
            "metadata": {"violation_type": reason.strip()[:200]},
        }
