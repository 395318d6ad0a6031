"""Why a turn failed -> the error that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.agents.asked import question_of
from agent.conversation_turns import shown
from agent.errors import (
    ContentTypeNotSupported,
    InvalidParams,
    ModelNotFound,
    PromptTooLong,
    ResourceNotFound,
    StackTimeout,
    StackUnavailable,
    TurnFailed,
    Unauthenticated,
    UnsupportedOperation,
)
from agent.model import TaskState

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.errors import AgentError
    from agent.model import Metadata, Task

CANCELED = "The turn was canceled."
_UNKNOWN = "The turn ended with an error."


class NamedNotFound(ResourceNotFound):
    """What the turn needs is not there; the task has said what."""

    def __init__(self, said: str) -> None:
        """``said`` is the message of a ``ResourceNotFound``."""
        super().__init__("resource", "")
        response, _, cause = said.partition(": ")
        self.response, self.cause = response, cause or said
        self.message = said


_KINDS: dict[str, Callable[[str], AgentError]] = {
    "STACK_UNAVAILABLE": StackUnavailable,
    "STACK_TIMEOUT": StackTimeout,
    "MODEL_NOT_FOUND": ModelNotFound,
    "PROMPT_TOO_LONG": PromptTooLong,
    "CONTENT_TYPE_NOT_SUPPORTED": ContentTypeNotSupported,
    "UNSUPPORTED_OPERATION": UnsupportedOperation,
    "INVALID_PARAMS": lambda said: reworded(InvalidParams("messages", _problem_in(said))),
    "RESOURCE_NOT_FOUND": NamedNotFound,
}


def failure_of(task: Task, metadata: Metadata) -> AgentError:
    """Return the error of a task that did not end with an answer; ``metadata`` is that of its end."""
    state = task.status.state
    said = "" if task.status.message is None else shown(task.status.message.parts[:1])
    if state is TaskState.CANCELED:
        return TurnFailed(CANCELED)
    if state is TaskState.AUTH_REQUIRED:
        return Unauthenticated(said or _needed(question_of(task)), counts=False)
    reason = (metadata or {}).get("reason")
    kind = _KINDS.get(reason, TurnFailed) if isinstance(reason, str) else TurnFailed
    return kind(said or _UNKNOWN)


def reworded(error: InvalidParams) -> InvalidParams:
    """Return the error in the words of this API, where a turn has messages and a message no parts."""
    if not error.field.startswith("message"):
        return error
    return InvalidParams("messages", error.problem)


def _problem_in(said: str) -> str:
    """Take the name of A2A's parameter from what a task says of one that is not valid."""
    return said.partition(": ")[2] or said


def _needed(data: object) -> str:
    server = data.get("server") if isinstance(data, dict) else None
    return f"The tools of {server} need credentials." if server else "A tool needs credentials."
