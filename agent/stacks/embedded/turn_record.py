"""One turn as it is stored: begun, resumed, ended."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING

import anyio
import msgspec

from a2a_state.sessions import Agent, Turn
from agent.clock import now
from agent.errors import AgentError, InvalidParams, TurnFailed
from agent.stacks.embedded import steps as step
from agent.stacks.embedded.messages import (
    Message,
    ToolMessage,
    from_input,
    message_of,
    size_of,
    to_input,
)
from agent.stacks.response_format import RESPONSE_FORMAT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from a2a_state.sessions import Opened, Sessions
    from agent.stacks.embedded.messages import ToolCall, UserMessage
    from agent.stacks.turn import Answer, Json, Resume, TurnRequest

_log = logging.getLogger(__name__)

HISTORY_CHARS = 48_000
"""Characters of earlier turns that a model is given, the latest: about 12,000 tokens."""
HISTORY_TURNS = 100
"""How many earlier turns are read."""

RESULT, APPROVAL = "result", "approval"
"""What a turn waits for with a tool call."""
DENIED = "The user did not approve this call."

_RESUMED_AT = "resumed_at"  # in the options: how many steps the turn had then
_STORE_SECONDS = 5.0  # for storing the end of a turn that was given up


class TurnRecord:
    """A turn in progress. ``steps`` grows as it goes on, and is stored with its end."""

    def __init__(self, sessions: Sessions, opened: Opened, results: Sequence[ToolMessage]) -> None:
        """``results`` are those that the caller resumes the turn with."""
        self._sessions = sessions
        self._turn = opened.turn
        self._earlier = opened.earlier
        self.agent = opened.agent
        self.results = tuple(results)
        self.message: UserMessage = from_input(opened.turn.input_messages[-1])
        self.steps: list[Json] = list(opened.turn.steps)

    @property
    def turn_id(self) -> str:
        """The id of the turn."""
        return self._turn.turn_id

    @property
    def options(self) -> Json:
        """What was chosen for this turn alone."""
        return self._turn.options

    @property
    def messages(self) -> tuple[Message, ...]:
        """What was said before, as much of it as a model is given, and the message of this turn."""
        room = HISTORY_CHARS - size_of([self.message])
        kept: list[list[Message]] = []
        for turn in reversed(self._earlier):
            said = [from_input(turn.input_messages[-1]), *step.messages_of(turn.steps)]
            room -= size_of(said)
            if room < 0:
                break
            kept.append(said)
        return (*(message for said in reversed(kept) for message in said), self.message)

    async def end(self, state: str, waiting: dict[str, str] | None = None) -> None:
        """Store how the turn ended; one that was canceled meanwhile stays so.

        ``waiting`` are the calls that a turn waits for the caller with: ``RESULT`` or ``APPROVAL``.
        """
        output = [s["model_response"] for s in self.steps if s["step_type"] == "inference"]
        ended = msgspec.structs.replace(
            self._turn,
            state=state,
            options=self.options | {"waiting": waiting or {}},
            steps=self.steps,
            output_message=output[-1] if output else None,
            completed_at=None if state == "awaiting_input" else now(),
        )
        await self._sessions.change(ended, states=("in_progress",))

    async def give_up(self, state: str) -> None:
        """Store that the turn failed or was canceled, whatever else goes on."""
        with anyio.move_on_after(_STORE_SECONDS, shield=True):
            try:
                await self.end(state)
            except AgentError as exc:
                _log.warning("turn %s is not stored: %s", self.turn_id, exc.message, exc_info=exc)


async def begin(sessions: Sessions, request: TurnRequest, agent: Agent) -> TurnRecord:
    """Store a new turn; raises ``RequestError`` for parts that are no text or image."""
    turn = Turn(
        turn_id=str(uuid.uuid4()),
        session_id=request.conversation_id,
        owner=request.owner,
        tenant=request.tenant,
        state="in_progress",
        options={
            "model": request.model,
            "client_tools": [msgspec.structs.asdict(tool) for tool in request.tools],
            RESPONSE_FORMAT: request.metadata.get(RESPONSE_FORMAT),
        },
        input_messages=[to_input(message_of(request.parts))],
        steps=[],
        output_message=None,
        started_at=now(),
        completed_at=None,
    )
    opened = await sessions.begin(turn, agent, HISTORY_TURNS)
    if opened is None:
        raise TurnFailed("There is no such conversation.")
    return TurnRecord(sessions, opened, ())


async def resume(sessions: Sessions, request: TurnRequest, wanted: Resume) -> TurnRecord:
    """Go on with a stored turn; raises ``InvalidParams`` unless just what it waits for is given.

    A turn that was being resumed when its process ended already has the results.
    """
    opened = await sessions.reopen(
        request.owner, request.tenant, request.conversation_id, wanted.turn_id, HISTORY_TURNS
    )
    if opened is None:
        raise TurnFailed("The turn that waits for input is not known.")
    turn = opened.turn
    results: list[ToolMessage] = []
    if turn.state == "awaiting_input":
        turn, results = _resumed(turn, wanted)
    elif turn.state != "in_progress" or _RESUMED_AT not in turn.options:
        raise TurnFailed("The turn does not wait for input.")
    if not await sessions.change(turn, states=("awaiting_input", "in_progress")):
        raise TurnFailed("The turn does not wait for input.")
    return TurnRecord(sessions, msgspec.structs.replace(opened, turn=turn), results)


def text_of(turn: Turn) -> str:
    """Return what the model said in a turn since it began or was last resumed."""
    return step.text_of(turn.steps[turn.options.get(_RESUMED_AT, 0) :])


def _resumed(turn: Turn, wanted: Resume) -> tuple[Turn, list[ToolMessage]]:
    """Return the turn with what the caller says to its calls, and the results among that.

    A turn that waits for nothing had no credentials: its calls are simply run again.
    """
    calls = step.unanswered(turn.steps)
    waiting = turn.options.get("waiting", {call.call_id: RESULT for call in calls})
    asked = [call for call in calls if call.call_id in waiting]
    answers = _matched(asked, wanted) if asked else {}
    approved = list(turn.options.get("approved", ()))
    results: list[ToolMessage] = []
    for call in asked:
        answer = answers[call.call_id]
        if waiting[call.call_id] == RESULT:
            results.append(ToolMessage(call.call_id, call.tool_name, answer.content))
        elif answer.approve is None:
            problem = f"{call.call_id} wants to be approved or denied"
            raise InvalidParams("message.parts", problem)
        elif answer.approve:
            approved.append(call.call_id)
        else:
            results.append(ToolMessage(call.call_id, call.tool_name, _denial(answer)))
    steps = list(turn.steps)
    if results:
        ran = [call for call in asked if call.call_id not in approved]
        steps.append(step.tool_execution(turn.turn_id, step.now(), ran, results))
    options = turn.options | {"waiting": {}, "approved": approved, _RESUMED_AT: len(steps)}
    going = msgspec.structs.replace(turn, state="in_progress", steps=steps, options=options)
    return going, results


def _matched(asked: Sequence[ToolCall], wanted: Resume) -> dict[str, Answer]:
    answers = {answer.call_id: answer for answer in wanted.answers}
    known = {call.call_id for call in asked}
    if unasked := answers.keys() - known:
        raise InvalidParams("message.parts", f"no tool call {min(unasked)} waits for a result")
    if missing := known - answers.keys():
        raise InvalidParams("message.parts", f"the tool call {min(missing)} has no result")
    return answers


def _denial(answer: Answer) -> str:
    said = answer.content.strip()
    return f"{DENIED} The user said: {said}" if said else DENIED
