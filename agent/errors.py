"""The one error tree.

Errors are translated inward where a foreign error is met (a stack, the database) and outward once per
wire. The message of an ``AgentError`` is written for the caller: it never holds the text of another
exception, which stays in ``__cause__`` for the log.

    AgentError
    ├── RequestError            the caller's message cannot be served as sent
    │   ├── ParseError  InvalidRequest  MethodNotFound  InvalidParams
    │   ├── TaskNotFound (ContextNotFound)  TaskNotCancelable  UnsupportedOperation (NotProvided)
    │   ├── ContentTypeNotSupported  WrongContentType
    │   ├── PushNotificationNotSupported  ExtendedCardNotConfigured  ExtensionSupportRequired
    │   ├── VersionNotSupported  PayloadTooLarge  TooManyTasks  TooManyStreams  KeyReused
    │   ├── Refused             who asks may not, as far as we know them
    │   │   ├── Unauthenticated  MalformedCredentials  TooManyAttempts
    │   │   └── PermissionDenied  QuotaExceeded  IdentityUnavailable
    │   └── ResourceNotFound  ServerStopping  StreamEnded
    ├── StackError              what the turn runs on failed
    │   └── StackUnavailable  StackTimeout  ModelNotFound  InvalidAgentResponse  TurnFailed  PromptTooLong
    ├── StateError              what we remember cannot be read or written
    │   └── StateUnavailable  TaskTaken
    └── SettingsError           the configuration is wrong; names the path of the key
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class AgentError(Exception):
    """The server could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        """Use the class docstring as message when none is given."""
        self.message = message or (type(self).__doc__ or "").strip()
        super().__init__(self.message)


class RequestError(AgentError):
    """The request cannot be served as sent."""


class ParseError(RequestError):
    """The body is not valid JSON."""


class InvalidRequest(RequestError):
    """The body is not a valid JSON-RPC 2.0 request."""


class MethodNotFound(RequestError):
    """This method does not exist."""


class InvalidParams(RequestError):
    """A parameter is missing or has a wrong value."""

    def __init__(self, field: str, problem: str) -> None:
        """``field`` is the path of the parameter on the wire, such as ``message.parts[0].text``."""
        self.field = field
        self.problem = problem
        super().__init__(f"Invalid parameter {field}: {problem}")


class TaskNotFound(RequestError):
    """There is no such task."""


class ContextNotFound(TaskNotFound):
    """There is no such context."""


class TaskNotCancelable(RequestError):
    """The task has ended and cannot be canceled."""


class UnsupportedOperation(RequestError):
    """This agent does not support the operation."""


class ContentTypeNotSupported(RequestError):
    """The content type is not supported."""


class WrongContentType(ContentTypeNotSupported):
    """The Content-Type must be application/json or application/a2a+json."""


class PushNotificationNotSupported(RequestError):
    """This agent does not send push notifications."""


class ExtendedCardNotConfigured(RequestError):
    """This agent has no extended card."""


class ExtensionSupportRequired(RequestError):
    """The agent requires an extension that the request does not name."""


class VersionNotSupported(RequestError):
    """This A2A protocol version is not supported."""


class PayloadTooLarge(RequestError):
    """The request is larger than this server accepts."""


class TooManyTasks(RequestError):
    """Too many tasks are running; try again later."""

    def __init__(self, retry_after: int) -> None:
        """``retry_after`` is in seconds."""
        self.retry_after = retry_after
        super().__init__()


class TooManyStreams(RequestError):
    """Too many streams of yours are open; end one, or try again later."""

    def __init__(self, retry_after: int) -> None:
        """``retry_after`` is in seconds."""
        self.retry_after = retry_after
        super().__init__()


class Refused(RequestError):
    """The caller may not do this.

    ``response`` and ``cause`` are LCS's: what happened, and why, both for the caller.
    """

    response = "The request is refused"

    def __init__(self, cause: str, response: str | None = None) -> None:
        """``cause`` holds nothing that the caller showed but names and ids."""
        self.cause = cause
        self.response = response or type(self).response
        super().__init__(f"{self.response}: {cause}")


class Unauthenticated(Refused):
    """Nobody we know; ``challenge`` is the value of WWW-Authenticate (RFC 9110 section 11.6.1).

    ``counts`` is False for what cannot be a guess: it is no failure of the caller's address.
    """

    response = "Missing or invalid credentials provided by client"

    def __init__(self, cause: str, challenge: str = "Bearer", *, counts: bool = True) -> None:
        """See the class."""
        self.challenge = challenge
        self.counts = counts
        super().__init__(cause)


class MalformedCredentials(Refused):
    """Credentials that are not even written as they should be."""

    response = "Invalid credentials format"


class TooManyAttempts(Refused):
    """Too many wrong credentials came from the caller's address."""

    response = "Too many failed authentication attempts"

    def __init__(self, retry_after: int) -> None:
        """``retry_after`` is in seconds."""
        self.retry_after = retry_after
        super().__init__(f"Try again in {retry_after} seconds.")


class PermissionDenied(Refused):
    """The caller is known, and has no role that may do this."""

    response = "User does not have permission to access this endpoint"


class QuotaExceeded(Refused):
    """No tokens are left."""

    response = "The quota has been exceeded"


class IdentityUnavailable(Refused):
    """What tells who callers are cannot be asked."""

    response = "Unable to verify credentials"


class ResourceNotFound(RequestError):
    """There is no such thing, or it is another's: LCS's words, for the caller."""

    def __init__(self, kind: str, identifier: str) -> None:
        """``kind`` as in "conversation", "model", "provider", "rag"; ``identifier`` as it was given."""
        self.kind = kind
        self.response = f"{kind.capitalize()} not found"
        self.cause = f"{kind.capitalize()} with ID {identifier} does not exist"
        super().__init__(f"{self.response}: {self.cause}")


class NotProvided(UnsupportedOperation):
    """This server was not installed with what the operation needs."""


class KeyReused(RequestError):
    """The Idempotency-Key was used for another request."""


class ServerStopping(RequestError):
    """The server is stopping; try again soon."""

    def __init__(self, retry_after: int, message: str | None = None) -> None:
        """``retry_after`` is in seconds."""
        self.retry_after = retry_after
        super().__init__(message)


class StreamEnded(RequestError):
    """The stream ends here, the task goes on: subscribe with the last event's id as Last-Event-ID."""


class StackError(AgentError):
    """The stack behind this agent failed."""


class StackUnavailable(StackError):
    """The stack behind this agent cannot be reached."""


class StackTimeout(StackError):
    """The stack behind this agent did not answer in time."""


class ModelNotFound(StackError):
    """The stack behind this agent does not know the model."""


class TurnFailed(StackError):
    """The turn ended with an error."""


class PromptTooLong(TurnFailed):
    """The conversation is too long for the model."""


class InvalidAgentResponse(StackError):
    """The stack behind this agent answered with something that is not understood."""


class StateError(AgentError):
    """What this server remembers could not be read or written."""


class StateUnavailable(StateError):
    """The state database cannot be reached."""


class TaskTaken(StateError):
    """Another message is already going on with this task."""


class SettingsError(AgentError):
    """The configuration is wrong."""

    def __init__(self, path: str, problem: str) -> None:
        """``path`` is the dotted path of the key, as in ``llama_stack.url``; empty for a file."""
        self.problems: tuple[tuple[str, str], ...] = ((path, problem),)
        super().__init__(f"{path}: {problem}" if path else problem)

    @classmethod
    def of(cls, problems: Sequence[tuple[str, str]]) -> Self:
        """All ``problems`` as one error, a line for each; there must be at least one."""
        error = cls(*problems[0])
        error.problems = tuple(problems)
        error.message = "\n".join(cls(*problem).message for problem in problems)
        error.args = (error.message,)
        return error


_REASONS: dict[type[AgentError], str] = {
    StackUnavailable: "STACK_UNAVAILABLE",
    StackTimeout: "STACK_TIMEOUT",
    ModelNotFound: "MODEL_NOT_FOUND",
    InvalidAgentResponse: "INVALID_AGENT_RESPONSE",
    PromptTooLong: "PROMPT_TOO_LONG",
    StackError: "TURN_FAILED",
}


def reason_of(error: StackError) -> str:
    """Return what a failed task says of why: for programs, as the message is for people."""
    return by_kind(_REASONS, error) or "TURN_FAILED"


def by_kind[T](table: Mapping[type[AgentError], T], error: AgentError) -> T | None:
    """Look an error up by its class, or else by the nearest class above it."""
    return next((table[kind] for kind in type(error).__mro__ if kind in table), None)
