"""One turn as it is stored: begun, resumed, ended."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING

import anyio
import msgspec

from a2a_state.sessions import Turn
from agent.clock import now
from agent.errors import AgentError, InvalidParams, TurnFailed
from agent.stacks.embedded import steps as step
from agent.stacks.embedded.messages import (
    Message,
    ToolCall,
    ToolMessage,
    from_input,
    message_of,
    size_of,
    to_input,
)
from agent.stacks.response_format import RESPONSE_FORMAT
from agent.stacks.turn import AgentOptions, TurnOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from a2a_state.agents import Agent
    from a2a_state.sessions import Opened, Sessions
    from agent.stacks.embedded.messages import UserMessage
    from agent.stacks.turn import Answer, Json, Resume, TurnRequest

_log = logging.getLogger(__name__)

HISTORY_CHARS = 48_000
"""Characters of earlier turns that a model is given, the latest: about 12,000 tokens."""
HISTORY_TURNS = 100
"""How many earlier turns are read."""

RESULT, APPROVAL = "result", "approval"
"""What a turn waits for with a tool call."""
DENIED = "The user did not approve this call."

# in the options: those of the caller, and the agent of the caller while the turn is not over
_WANTED, _AGENT = "wanted", "agent"
_RESUMED_AT = "resumed_at"  # in the options: how many steps the turn had then
_STORE_SECONDS = 5.0  # for storing the end of a turn that was given up


class Given(msgspec.Struct, frozen=True):
    """What the caller says to a call: the result of a tool of its own, or that ours was ``denied``."""

    call: ToolCall
    content: str
    denied: bool


class TurnRecord:
    """A turn in progress. ``steps`` grows as it goes on, and is stored with its end."""

    def __init__(self, sessions: Sessions, opened: Opened, given: Sequence[Given]) -> None:
        """``given`` is what the caller resumes the turn with."""
        self._sessions = sessions
        self._turn = opened.turn
        self._earlier = opened.earlier
        self.given = tuple(given)
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
    def wanted(self) -> TurnOptions:
        """What the message that the turn began with wants otherwise than its agent."""
        return msgspec.convert(self.options.get(_WANTED, {}), TurnOptions)

    @property
    def agent(self) -> AgentOptions | None:
        """The agent that the turn began with; None is that of the settings."""
        began_with = self.options.get(_AGENT)
        return began_with and msgspec.convert(began_with, AgentOptions)

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
        waits = state == "awaiting_input"
        options = self.options | {"waiting": waiting or {}}
        if not waits:
            # Earlier turns are read with every turn, and what these had for an agent is of no use then.
            options.pop(_AGENT, None)
        ended = msgspec.structs.replace(
            self._turn,
            state=state,
            options=options,
            steps=self.steps,
            output_message=output[-1] if output else None,
            completed_at=None if waits else now(),
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
    options = {
        "model": request.model,
        "client_tools": [msgspec.structs.asdict(tool) for tool in request.tools],
        _WANTED: msgspec.to_builtins(request.options),
        RESPONSE_FORMAT: request.metadata.get(RESPONSE_FORMAT),
    }
    if request.agent is not None:
        options[_AGENT] = msgspec.to_builtins(request.agent)
    turn = Turn(
        turn_id=str(uuid.uuid4()),
        session_id=request.conversation_id,
        owner=request.owner,
        tenant=request.tenant,
        state="in_progress",
        options=options,
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
    given: list[Given] = []
    if turn.state == "awaiting_input":
        turn, given = _resumed(turn, wanted)
    elif turn.state != "in_progress" or _RESUMED_AT not in turn.options:
        raise TurnFailed("The turn does not wait for input.")
    if not await sessions.change(turn, states=("awaiting_input", "in_progress")):
        raise TurnFailed("The turn does not wait for input.")
    return TurnRecord(sessions, msgspec.structs.replace(opened, turn=turn), given)


def text_of(turn: Turn) -> str:
    """Return what the model said in a turn since it began or was last resumed."""
    return step.text_of(turn.steps[turn.options.get(_RESUMED_AT, 0) :])


def _resumed(turn: Turn, wanted: Resume) -> tuple[Turn, list[Given]]:
    """Return the turn with what the caller says to its calls, and all of that but the approvals.

    A turn that waits for nothing had no credentials: its calls are simply run again.
    """
    calls = step.unanswered(turn.steps)
    waiting = turn.options.get("waiting", {call.call_id: RESULT for call in calls})
    asked = [call for call in calls if call.call_id in waiting]
    answers = _matched(asked, wanted) if asked else {}
    approved = list(turn.options.get("approved", ()))
    given: list[Given] = []
    for call in asked:
        answer = answers[call.call_id]
        if waiting[call.call_id] == RESULT:
            given.append(Given(call, answer.content, denied=False))
        elif answer.approve is None:
            problem = f"{call.call_id} wants to be approved or denied"
            raise InvalidParams("message.parts", problem)
        elif answer.approve:
            approved.append(call.call_id)
        else:
            given.append(Given(call, _denial(answer), denied=True))
    steps = list(turn.steps)
    if given:
        ran = [each.call for each in given]
        results = [ToolMessage(e.call.call_id, e.call.tool_name, e.content) for e in given]
        steps.append(step.tool_execution(step.begin(turn.turn_id), ran, results))
    options = turn.options | {"waiting": {}, "approved": approved, _RESUMED_AT: len(steps)}
    going = msgspec.structs.replace(turn, state="in_progress", steps=steps, options=options)
    return going, given


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
