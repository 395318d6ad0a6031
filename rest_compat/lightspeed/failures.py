"""Why a turn failed, in LCS's words: nothing that a model server or a stack has said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import ModelNotFound, TurnFailed, reason_of
from rest_compat.lightspeed.responses import NO_STACK, TOO_LONG
from rest_compat.problems import RETRY_SECONDS, Answered, Problem

if TYPE_CHECKING:
    from agent.errors import StackError
    from agent.model import Metadata

NOT_PROCESSED = "Error while processing query"
CANCELED = "The task was canceled."
_NO_STACK = Problem(503, *NO_STACK, {"Retry-After": str(RETRY_SECONDS)})
_KNOWN = {
    "PROMPT_TOO_LONG": Problem(413, *TOO_LONG),
    "STACK_UNAVAILABLE": _NO_STACK,
    "STACK_TIMEOUT": _NO_STACK,
}
# What the caller can mend; the last word of the task says what it is.
_ASKED_WRONG = {
    "INVALID_PARAMS": (422, "Invalid attribute value"),
    "CONTENT_TYPE_NOT_SUPPORTED": (422, "Invalid attribute value"),
    "UNSUPPORTED_OPERATION": (422, "Invalid attribute value"),
}
_UNKNOWN = "The turn ended with an error."


def failure_of(metadata: Metadata, said: str, model: str | None) -> Problem:
    """Return the problem of a task that failed; ``said`` is its last word, written for the caller.

    ``model`` is the one that was asked for.
    """
    reason = (metadata or {}).get("reason")
    if isinstance(reason, str) and reason in _KNOWN:
        return _KNOWN[reason]
    if reason == "RESOURCE_NOT_FOUND":
        # It says both, one after the other.
        response, _, cause = said.partition(": ")
        return Problem(404, response, cause)
    if isinstance(reason, str) and reason in _ASKED_WRONG:
        return Problem(*_ASKED_WRONG[reason], said or _UNKNOWN)
    if reason == "MODEL_NOT_FOUND":
        cause = f"Model with ID {model} does not exist" if model else said or _UNKNOWN
        return Problem(404, "Model not found", cause)
    return not_processed(said or _UNKNOWN)


class QueryFailed(Answered):
    """What was asked failed: why is LCS's to say."""

    def __init__(self, problem: Problem) -> None:
        """Keep its headers, too."""
        super().__init__(problem.status, problem.response, problem.cause)
        self.problem = problem
        if problem.response == NOT_PROCESSED:
            self.reason = reason_of(TurnFailed())


def failure_by(error: StackError) -> QueryFailed:
    """Return the failure of what was asked of the stack without naming a model."""
    # It is the server's own model then, of which callers know nothing.
    told = TurnFailed() if isinstance(error, ModelNotFound) else error
    return QueryFailed(failure_of({"reason": reason_of(told)}, told.message, None))


def not_processed(cause: str) -> Problem:
    """Return the problem of a query that LCS has no other words for."""
    return Problem(500, NOT_PROCESSED, cause)
